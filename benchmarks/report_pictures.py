"""Pictures of a report for the guide, taken from the pages of a demo (phantoms, nobody's data).

Usage: python benchmarks/report_pictures.py --demo FOLDER --work FOLDER

FOLDER of the demo is what `segduet demo --out` left. Evaluates its predictions again (divided by
the size of the lesion), writes a report with a viewer into the work folder and saves what headless
Chromium shows as docs/pictures/report-*.png, each smaller than 250 kB.
"""

import argparse
import io
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from report_cohort import BROWSER
from results_file import REPOSITORY

LARGEST = 250_000
PICTURES = REPOSITORY / "docs" / "pictures"
NUM_COLOURS = 255


def write_report(demo: Path, work: Path) -> Path:
    """The demo's evaluation and report, written anew with everything a page can hold."""
    page, data = work / "report.html", str(demo / "segduet-data")
    (run,) = (demo / "segduet-data" / "nnUNet_results").glob("*/*/fold_0")
    dataset = run.parent.parent.name
    segduet("advise", dataset, "--out", str(work / "advice"), "--data-root", data)
    segduet(
        *("evaluate", "--reference", dataset, "--predictions", str(demo / "predictions")),
        *("--out", str(work / "evaluation"), "--fold", "0", "--targets", "demo"),
        *("--by", "volume:pancreas_lesion", "--data-root", data),
    )
    segduet(
        *("report", str(run), str(work / "evaluation"), str(work / "advice")),
        *("--out", str(page), "--viewer", "worst:10", "--data-root", data),
    )
    return page


def segduet(*arguments: str) -> None:
    """Runs one command."""
    command = [sys.executable, "-m", "segduet", *arguments]
    subprocess.run(command, check=True, timeout=600, stdout=subprocess.DEVNULL)


def show_viewer(page: Page) -> None:
    """Where reference and prediction of the worst case differ."""
    page.locator("#viewer-stage").scroll_into_view_if_needed()
    page.locator("#viewer-readout", has_text="reference").wait_for(timeout=60_000)
    page.get_by_role("radio", name="prediction", exact=True).check()
    page.locator("#h-viewer").scroll_into_view_if_needed()
    page.evaluate("document.getElementById('h-viewer').scrollIntoView()")


def show(heading: str) -> Callable[[Page], None]:
    """Scrolls to a heading."""
    return lambda page: page.evaluate(f"document.getElementById('{heading}').scrollIntoView()")


def take(browser: Browser, source: Path, name: str, **settings: object) -> None:
    """Saves what a window of the given size shows."""
    prepare = settings.pop("prepare", None)
    context = browser.new_context(**settings)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(source.as_uri())
    if callable(prepare):
        prepare(page)
    page.wait_for_timeout(500)
    shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    target = PICTURES / f"report-{name}.png"
    shot.quantize(NUM_COLOURS, dither=Image.Dither.NONE).save(target, optimize=True)
    context.close()
    size = target.stat().st_size
    print(f"{target.name}: {size} bytes")
    assert size < LARGEST, target


def main() -> None:
    """Writes the page and takes the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--demo", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    asked = parser.parse_args()
    page = write_report(asked.demo.resolve(), asked.work.resolve())
    desktop, phone = {"width": 1100, "height": 800}, {"width": 390, "height": 800}
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=[*BROWSER])
        take(browser, page, "light", viewport=desktop, color_scheme="light")
        take(browser, page, "dark", viewport=desktop, color_scheme="dark")
        take(browser, page, "phone", viewport=phone)
        take(browser, page, "cases", viewport=desktop, prepare=show("case-controls"))
        take(browser, page, "subgroups", viewport=desktop, prepare=show("h-subgroups"))
        take(browser, page, "viewer", viewport=desktop, prepare=show_viewer)
        browser.close()


if __name__ == "__main__":
    main()
