"""B18: the page in a real browser: sorting, filtering, viewer, hostile names, narrow screens."""

import contextlib
import io
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from segduet.core.geometry import Geometry
from segduet.core.labels import LabelScheme
from segduet.core.scores import CaseScores, ClassAnswer, Score
from segduet.reporting.case_images import CaseImages
from segduet.reporting.case_pictures import CasePictures, case_strip
from segduet.reporting.html_report import ReportInputs, render_report
from segduet.reporting.viewer_data import viewer_case

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium")

ARGUMENTS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--no-first-run",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
]
HOSTILE = [
    "</script><script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "x" * 300,
    "\u202eevil\u202c مريض",
    "🫀 case 10",
    "{{ 7 * 7 }} --> <!--",
]
LABELS = LabelScheme(labels=(("background", (0,)), ("organ", (1, 2)), ("<b>lesion", (2,))))
#: z-steps go down and left, x goes back, y goes left: no axis as a viewer expects it.
GEOMETRY = Geometry(
    shape_zyx=(12, 16, 20),
    spacing_zyx_mm=(3.0, 1.5, 1.0),
    origin_xyz_mm=(-30.0, 11.0, 40.0),
    direction_xyz=(0, 1, 0, 0.8, 0, 0.6, 0.6, 0, -0.8),
)
#: One voxel (x, y, z) of each label of the reference, and one of the prediction alone.
ORGAN_XYZ, LESION_XYZ, ADDED_XYZ = (3, 12, 9), (15, 4, 2), (8, 8, 6)


def phantom(case: str) -> CaseImages:
    image = np.full((1, *GEOMETRY.shape_zyx), 100, np.int16)
    image[0, 0, 0, 0] = 900
    reference, prediction = (np.zeros(GEOMETRY.shape_zyx, np.uint8) for _ in range(2))
    reference[ORGAN_XYZ[::-1]] = 1
    reference[LESION_XYZ[::-1]] = 2
    prediction[ADDED_XYZ[::-1]] = 1
    return CaseImages(
        case=case, image=image, reference=reference, prediction=prediction, geometry=GEOMETRY
    )


def scored(case: str, dsc: float) -> CaseScores:
    score = Score(value=dsc)
    answer = ClassAnswer(
        reference="benign",
        predicted="benign" if dsc > 0.5 else "malignant",
        probabilities=(dsc, 1 - dsc),
    )
    return CaseScores(
        case=case,
        patient=case,
        segmentation={name: {"dsc": score} for name in LABELS.foreground},
        volumes_ml=dict.fromkeys(LABELS.foreground, (dsc, dsc)),
        answers={"kind": answer},
    )


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    values = (0.9, 0.8, 0.1, 0.7, 0.3, 0.6)
    cases = [scored(name, dsc) for name, dsc in zip(HOSTILE, values, strict=True)]
    pictures = [
        CasePictures(
            case=name,
            strip=case_strip(phantom(name), LABELS.foreground),
            volumes=viewer_case(phantom(name)) if number < 2 else None,
        )
        for number, name in enumerate(HOSTILE)
    ]
    inputs = ReportInputs(
        title=HOSTILE[0],
        labels=LABELS,
        cases=cases,
        pictures=pictures,
        record={"training": {"name": HOSTILE[1]}},
    )
    target = tmp_path_factory.mktemp("page") / "report.html"
    target.write_text(render_report(inputs), encoding="utf-8")
    return target


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield started
        started.close()


@contextlib.contextmanager
def opened(browser, page_file, *, before="", **settings):
    """The page; nothing but the file itself may be asked for, and nothing may go wrong in it."""
    troubles = []
    context = browser.new_context(**settings)
    page = context.new_page()
    page.on("console", lambda m: troubles.append(m.text) if m.type in ("error", "warning") else 0)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("dialog", lambda dialog: (troubles.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda r: None if r.url == page_file.as_uri() else troubles.append(r.url))
    page.add_init_script(before)
    page.goto(page_file.as_uri())
    yield page
    context.close()
    assert [t for t in troubles if not t.startswith("data:")] == []


@pytest.fixture(scope="module")
def page(browser, page_file):
    with opened(browser, page_file, viewport={"width": 1100, "height": 900}) as found:
        yield found


def shown_cases(page) -> list[str]:
    names = page.locator("#case-table tbody tr:visible th bdi").all_text_contents()
    return [name.strip() for name in names]


def test_hostile_names_are_text(page):
    """C3.15: every name reads as it was written; `opened` sees any dialog or error."""
    assert sorted(shown_cases(page)) == sorted(HOSTILE)
    assert page.title() == HOSTILE[0]
    assert page.locator("#viewer-case option").all_text_contents() == HOSTILE[:2]
    assert page.locator("img[src=x]").count() == 0


def test_headings_sort_by_mouse_and_keyboard(page):
    """Worst first from the start; text sorts numbers in it by their value."""
    by_value = [HOSTILE[i] for i in (2, 4, 5, 3, 1, 0)]
    assert shown_cases(page) == by_value
    heading = page.get_by_role("columnheader", name="mean DSC")
    button = heading.get_by_role("button")
    button.click()
    assert heading.get_attribute("aria-sort") == "ascending"
    button.press("Enter")
    assert heading.get_attribute("aria-sort") == "descending"
    assert shown_cases(page) == by_value[::-1]
    page.get_by_role("columnheader", name="case", exact=True).get_by_role("button").click()
    assert heading.get_attribute("aria-sort") is None
    assert shown_cases(page)[-1] == HOSTILE[2]
    button.click()


def test_filter_by_text_and_by_answer(page):
    search = page.get_by_role("searchbox", name="find")
    search.fill("CASE 10")
    assert shown_cases(page) == [HOSTILE[4]]
    assert page.text_content("#case-count") == "1 of 6 cases shown"
    search.fill("")
    page.get_by_label("answers").select_option("wrong")
    assert sorted(shown_cases(page)) == sorted([HOSTILE[2], HOSTILE[4]])
    page.get_by_label("answers").select_option("")
    assert len(shown_cases(page)) == 6


def show(page, voxel, overlay) -> str:
    """Moves the crosshair and returns what the viewer says."""
    page.locator("#viewer-stage").scroll_into_view_if_needed()
    page.locator("#viewer-readout", has_text="reference").wait_for(timeout=30_000)
    page.get_by_role("radio", name=overlay, exact=True).check()
    for axis, index in zip("xyz", voxel, strict=True):
        page.locator(f"#viewer-{axis}").fill(str(index))
        page.locator(f"#viewer-{axis}").press("Enter")
    return page.text_content("#viewer-readout")


def coloured(page, hue: str) -> np.ndarray:
    """(N, 2) places (y, x) in the viewer that have the hue of a label, blended with grey."""
    picture = Image.open(io.BytesIO(page.locator("#viewer-canvas").screenshot()))
    colours = np.asarray(picture.convert("RGB")).astype(int)
    redness = colours[..., 0] - colours[..., 2]
    return np.argwhere((redness if hue == "yellow" else -redness) > 60)


def test_viewer_names_the_voxel_and_its_labels(page):
    """Known voxels of each label, in a grid that is not right-anterior-superior."""
    x, y, z = ORGAN_XYZ
    # worked by hand: origin + direction @ (index * spacing), left and posterior turned round
    left, back, up = -30 + 1.5 * y, 11 + 0.8 * x + 1.8 * z, 40 + 0.6 * x - 2.4 * z
    assert show(page, ORGAN_XYZ, "reference") == (
        f"voxel 3, 12, 9 · mm (R, A, S) {-left:.1f}, {-back:.1f}, {up:.1f} · image 100"
        " · reference: organ · prediction: background"
    )
    assert "reference: <b>lesion + organ · prediction: background" in show(
        page, LESION_XYZ, "reference"
    )
    assert show(page, ADDED_XYZ, "reference").endswith("reference: background · prediction: organ")


def test_viewer_draws_the_slice_of_the_voxel(page):
    """The one voxel of a label is seen in its own slices, and not in the ones beside them."""
    show(page, ORGAN_XYZ, "reference")
    assert len(coloured(page, "blue")) > 30
    assert len(coloured(page, "yellow")) == 0
    show(page, tuple(index - 1 for index in ORGAN_XYZ), "reference")
    assert len(coloured(page, "blue")) == 0
    show(page, LESION_XYZ, "reference")
    assert len(coloured(page, "yellow")) > 30
    show(page, LESION_XYZ, "prediction")
    assert len(coloured(page, "yellow")) == len(coloured(page, "blue")) == 0
    show(page, ADDED_XYZ, "where they differ")
    assert len(coloured(page, "yellow")) > 30


def test_a_click_reads_what_is_drawn_there(page):
    show(page, (10, 2, ORGAN_XYZ[2]), "reference")  # elsewhere in the organ's axial slice
    y, x = coloured(page, "blue").mean(0)
    page.locator("#viewer-canvas").click(position={"x": x, "y": y})
    page.locator("#viewer-readout", has_text="voxel 3, 12, 9 ·").wait_for(timeout=5000)


def test_viewer_by_keyboard_and_the_same_case_as_the_row(page):
    show(page, ORGAN_XYZ, "reference")
    canvas = page.locator("#viewer-canvas")
    canvas.press("ArrowRight")
    canvas.press("PageDown")
    assert page.text_content("#viewer-readout").startswith("voxel 4, 12, 8 ")
    canvas.press("2")
    assert page.get_by_role("radio", name="prediction").is_checked()
    page.get_by_role("button", name=re.compile("^Show .*img src=x")).click()
    page.locator("#viewer-readout", has_text="voxel 15, 4, 2").wait_for(timeout=30_000)
    assert page.locator("#viewer-case").input_value() == HOSTILE[1]


def test_phone_and_print(browser, page_file):
    """B18: nothing wider than a phone's screen; on paper pictures stand in for the viewer."""
    with opened(browser, page_file, viewport={"width": 390, "height": 800}) as page:
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        page.keyboard.press("Tab")
        assert page.locator(":focus").text_content() == "Skip to the results"
        page.get_by_role("searchbox", name="find").fill("nothing has this name")
        assert shown_cases(page) == []
        page.emulate_media(media="print")
        assert not page.locator("#viewer-section").is_visible()
        assert page.locator("img.strip").first.is_visible()
        assert len(shown_cases(page)) == 6
        assert page.get_by_text("name", exact=True).is_visible()  # the record is unfolded


def test_a_browser_without_webgl_says_so(browser, page_file):
    """The rest of the page works; no dialog, see `opened`."""
    without = "HTMLCanvasElement.prototype.getContext = () => null"
    with opened(browser, page_file, before=without) as page:
        page.locator("#viewer-stage").scroll_into_view_if_needed()
        page.locator("#viewer-readout", has_text="no WebGL 2").wait_for(timeout=10_000)
        assert len(shown_cases(page)) == 6
