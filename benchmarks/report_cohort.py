"""The report of 200 cases of ACDC's size: how long, how large, and does it work in a browser?

Usage: python benchmarks/report_cohort.py --work FOLDER [--quick]

Phantom hearts (10 x 256 x 216 voxels, three labels) with images, predictions and the answers to a
question of five classes; some cases have hostile names. `segduet evaluate` and `segduet report`
run as a user calls them, each in a fresh process; the report once without volumes and once with
those of the ten worst cases. Headless Chromium opens both pages: the table is sorted and filtered,
the viewer is asked for a known voxel, and any console message, dialog or request is a fault.

Bars: the page without volumes in under 60 s and 25 MB; the rest must hold without a fault. Exits
with 1 where one is missed. Writes docs/results/report_cohort.json (not with --quick).
"""

import argparse
import contextlib
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Page, sync_playwright

from evaluation_speed import GRID, NAMES, heart
from results_file import write_result
from segduet.core.cases import CaseRecord, CaseTable
from segduet.core.description import DatasetDescription, SegduetSection
from segduet.core.files import read_json
from segduet.core.prediction import Prediction
from segduet.core.tasks import TaskSpec
from segduet.inference.answers_file import ANSWERS_FILE, write_answers
from segduet.io.images import read_label_map, write_label_map
from segduet.io.itk import write_scan

SEED = 0
NUM_CASES = {"full": 200, "quick": 12}
BARS = {"seconds": 60.0, "megabytes": 25.0}
TASK = TaskSpec(name="disease", classes=("NOR", "MINF", "DCM", "HCM", "RV"))
#: What a file system allows; the tests have names of 300 characters and with a slash.
HOSTILE = (
    "<script>alert(1)<script>",
    "\"'><img src=x onerror=alert(1)>",
    "\u202eevil\u202c مريض",
    "🫀 & 100 %",
    "x" * 200,
)
BROWSER = (
    "--no-sandbox",
    "--disable-background-networking",
    "--no-first-run",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
)


def case_names(num_cases: int) -> list[str]:
    """The hostile names, and as many others as are missing."""
    return [*HOSTILE, *(f"case_{index:03d}" for index in range(num_cases - len(HOSTILE)))]


def write_data(folder: Path, num_cases: int) -> None:
    """A dataset folder with images and masks, and a folder of predictions."""
    answers, records = [], []
    for index, case in enumerate(case_names(num_cases)):
        rng = np.random.default_rng([SEED, index])
        centre, size = rng.normal((128, 118), 6), rng.uniform(0.85, 1.15)
        reference = heart(rng, centre, size)
        predicted = heart(rng, centre + rng.normal(0, 2, 2), size * rng.uniform(0.9, 1.1))
        levels = np.array([60, 180, 110, 220])[reference]
        image = (levels + rng.normal(0, 25, GRID.shape_zyx)).clip(0).astype(np.int16)
        target = folder / "imagesTr" / f"{case}_0000.nii.gz"
        target.parent.mkdir(parents=True, exist_ok=True)
        write_scan(target, image, GRID)
        write_label_map(folder / "labelsTr" / f"{case}.nii.gz", reference, GRID)
        write_label_map(folder / "predictions" / f"{case}.nii.gz", predicted, GRID)
        truth = index % len(TASK.classes)
        chances = rng.dirichlet(1 + 4 * np.eye(len(TASK.classes))[truth])
        records.append(CaseRecord(case=case, patient=case, labels={TASK.name: TASK.classes[truth]}))
        answers.append(
            Prediction(
                case=case,
                label_map=predicted,
                geometry=GRID,
                probabilities={TASK.name: chances},
                evidence={TASK.name: 1.0},
            )
        )
    CaseTable(records=tuple(records)).write(folder / "cases.csv", [TASK])
    DatasetDescription(
        channel_names={"0": "MR"},
        labels=NAMES,
        numTraining=num_cases,
        file_ending=".nii.gz",
        segduet=SegduetSection(tasks=(TASK,)),
    ).write(folder / "dataset.json")
    write_answers(folder / "predictions" / ANSWERS_FILE, answers, [TASK])


def timed(*arguments: str) -> float:
    """Seconds of `python -m segduet ...` from its start to its end."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "segduet", *arguments], check=True, timeout=1800)
    return time.perf_counter() - started


def build(folder: Path) -> dict[str, Any]:
    """Evaluates, writes both pages, and says how long that took and how large they are."""
    evaluation = str(folder / "evaluation")
    seconds = timed(
        *("evaluate", "--reference", str(folder), "--predictions", str(folder / "predictions")),
        *("--out", evaluation),
    )
    figures: dict[str, Any] = {"evaluate_seconds": round(seconds, 2)}
    for name, viewer in (("without_volumes", "none"), ("with_10_volumes", "worst:10")):
        page = folder / f"{name}.html"
        seconds = timed("report", evaluation, "--out", str(page), "--viewer", viewer)
        inside = read_json(folder / f"{name}_manifest.json")["seconds"]
        figures[name] = {
            "seconds": round(seconds, 2),
            "seconds_without_start_up": inside,
            "megabytes": round(page.stat().st_size / 1e6, 2),
        }
    return figures


@contextlib.contextmanager
def opened(source: Path, faults: list[str]) -> Iterator[Page]:
    """The page in a browser of its own; whatever goes wrong in it is added to `faults`."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=[*BROWSER])
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        page.on("console", lambda m: faults.append(f"console {m.type}: {m.text}"))
        page.on("pageerror", lambda error: faults.append(f"error: {error}"))
        page.on("dialog", lambda d: (faults.append(f"dialog: {d.message}"), d.dismiss()))
        page.on(
            "request",
            lambda r: r.url.startswith(("data:", source.as_uri())) or faults.append(r.url[:80]),
        )
        page.goto(source.as_uri())
        yield page
        browser.close()


def shown(page: Page) -> list[str]:
    """Case names of the visible rows."""
    return page.locator("#case-table tbody tr:visible th bdi").all_text_contents()


def check_table(page: Page, names: list[str]) -> list[str]:
    """What is wrong with sorting, filtering and names."""
    faults = []
    if sorted(shown(page)) != sorted(names):
        faults.append("names are not shown as they were given")
    heading = page.get_by_role("columnheader", name="mean DSC")
    cells = "#case-table tbody tr td:nth-child(3)"
    for direction in ("ascending", "descending"):
        started = time.perf_counter()
        heading.get_by_role("button").press("Enter")
        values = [float(text) for text in page.locator(cells).all_text_contents()]
        if values != sorted(values, reverse=direction == "descending"):
            faults.append(f"not sorted {direction}")
        print(f"sorted in {time.perf_counter() - started:.2f} s")
    page.get_by_role("searchbox", name="find").fill("case_00")
    if sorted(shown(page)) != sorted(name for name in names if "case_00" in name):
        faults.append("the filter shows other cases")
    return faults


def check_viewer(page: Page, folder: Path) -> list[str]:
    """What is wrong with what the viewer says at a voxel of each label of the worst case."""
    page.locator("#viewer-stage").scroll_into_view_if_needed()
    page.locator("#viewer-readout", has_text="reference").wait_for(timeout=60_000)
    case = page.locator("#viewer-case").input_value()
    label_map = read_label_map(folder / "labelsTr" / f"{case}.nii.gz").array[0]
    faults = []
    for name, value in NAMES.items():
        if value:
            voxel = np.argwhere(label_map == value)[0][::-1]
            for axis, index in zip("xyz", voxel, strict=True):
                page.locator(f"#viewer-{axis}").fill(str(index))
                page.locator(f"#viewer-{axis}").press("Enter")
            said = page.text_content("#viewer-readout") or ""
            wanted = f"voxel {', '.join(str(index) for index in voxel)} ·"
            if not said.startswith(wanted) or f"reference: {name} " not in said:
                faults.append(f"{wanted} {name}: the viewer says {said}")
    return faults


def main() -> None:
    """Writes the data, builds and opens the pages, and judges them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--quick", action="store_true")
    asked = parser.parse_args()
    num_cases = NUM_CASES["quick" if asked.quick else "full"]
    folder = asked.work.resolve()
    write_data(folder, num_cases)
    figures = build(folder)
    faults: list[str] = []
    with opened(folder / "without_volumes.html", faults) as page:
        faults += check_table(page, case_names(num_cases))
    with opened(folder / "with_10_volumes.html", faults) as page:
        faults += check_viewer(page, folder)
    measured = figures["without_volumes"]
    faults += [f"{bar}: {measured[bar]} > {BARS[bar]}" for bar in BARS if measured[bar] > BARS[bar]]
    figures = {"cases": num_cases, **figures, "bars": BARS, "faults": faults}
    print(figures)
    if not asked.quick:
        write_result("report_cohort", seeds=[SEED], figures=figures)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
