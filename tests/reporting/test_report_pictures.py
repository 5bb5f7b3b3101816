"""The report of an evaluation: which cases are shown, with what, and under which name."""

import json

import numpy as np
import pytest

from segduet.cli.main import main
from segduet.core.cases import CaseRecord, CaseTable
from segduet.core.description import DatasetDescription, SegduetSection
from segduet.core.errors import DataError, RequestError
from segduet.core.files import write_json
from segduet.core.folders import DataRoot
from segduet.core.geometry import Geometry
from segduet.core.tasks import TaskSpec
from segduet.io.images import write_label_map
from segduet.io.itk import write_scan
from segduet.workflows.evaluation import EvaluateRequest, evaluate
from segduet.workflows.reporting import ReportOptions, report

GRID = Geometry(shape_zyx=(3, 16, 16), spacing_zyx_mm=(4.0, 2.0, 2.0))
#: Nobody knows the answer to it, so only masks are scored.
TASK = TaskSpec(name="a/b", classes=("x", "y"))
ROOT = DataRoot.resolve(None, {})


def square(width: int) -> np.ndarray:
    voxels = np.zeros(GRID.shape_zyx, np.uint8)
    voxels[1, 4:12, 4 : 4 + width] = 1
    return voxels


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """Cases `anna1` to `anna4`, of which a higher number is predicted better."""
    folder = tmp_path_factory.mktemp("report")
    reference, predictions = folder / "reference", folder / "predictions"
    records = []
    for number in range(1, 5):
        case = f"anna{number}"
        records.append(CaseRecord(case=case, patient=case, split="val", labels={}))
        image = reference / "imagesTr" / f"{case}_0000.nii.gz"
        write_label_map(image, square(8) * 100, GRID)
        write_label_map(reference / "labelsTr" / f"{case}.nii.gz", square(8), GRID)
        write_label_map(predictions / f"{case}.nii.gz", square(2 * number), GRID)
    maps = predictions / "attention"
    maps.mkdir()
    write_scan(maps / "anna3_attention_a%2Fb.nii.gz", square(4).astype(np.float32), GRID)
    CaseTable(records=tuple(records)).write(reference / "cases.csv", [TASK])
    DatasetDescription(
        channel_names={"0": "CT"},
        labels={"background": 0, "organ": 1},
        numTraining=4,
        file_ending=".nii.gz",
        segduet=SegduetSection(tasks=(TASK,)),
    ).write(reference / "dataset.json")
    out = folder / "evaluation"
    evaluate(ROOT, EvaluateRequest(reference=str(reference), predictions=predictions, out=out))
    return out


def page(evaluated, tmp_path, **options) -> str:
    target = tmp_path / "report.html"
    report(ROOT, [evaluated], target, ReportOptions(**options))
    return target.read_text()


def test_every_case_has_pictures_and_the_page_no_volumes(evaluated, tmp_path):
    """F88: unless asked for less or more."""
    html = page(evaluated, tmp_path)
    assert html.count('class="strip"') == 4
    assert 'alt="Image, reference, prediction: anna1"' in html
    assert 'alt="Image, reference, prediction, attention of a/b: anna3"' in html
    assert "viewer-canvas" not in html
    assert "niivue" not in html
    assert len(html) < 300_000


def test_viewer_holds_the_worst_cases(evaluated, tmp_path):
    """B18: their volumes, and a button in each of their rows; the record names the folder."""
    html = page(evaluated, tmp_path, viewer="worst:2", pictures="none")
    data = json.loads(html.split('id="viewer-data">')[1].split("</script>")[0])
    assert [case["case"] for case in data["cases"]] == ["anna1", "anna2"]
    assert [label["name"] for label in data["labels"]] == ["background", "organ"]
    assert html.count('<button type="button" data-view') == 2
    assert str(evaluated.parent) in html


def test_anonymous_pages_name_no_case_and_no_folder(evaluated, tmp_path):
    """B18: numbers from the worst case on; the record loses what names files."""
    html = page(evaluated, tmp_path, viewer="worst:2", pictures="worst:1", is_anonymous=True)
    assert "anna" not in html
    assert str(evaluated.parent) not in html
    assert html.index(">case 1<") < html.index(">case 4<")
    assert "versions.numpy" in html


def test_a_picture_that_cannot_be_made_says_why(evaluated, tmp_path):
    """F90: the page is written, and page and manifest say what is missing in it."""
    moved = tmp_path / "moved"
    (evaluated.parent / "predictions" / "anna2.nii.gz").rename(moved)
    try:
        html = page(evaluated, tmp_path)
    finally:
        moved.rename(evaluated.parent / "predictions" / "anna2.nii.gz")
    sentence = "anna2: no picture, its file is gone from the predictions"
    assert sentence in html
    assert html.count('class="strip"') == 3
    assert json.loads((tmp_path / "report_manifest.json").read_text())["warnings"] == [sentence]


def test_options_reach_the_page_and_a_wrong_one_is_one_message(evaluated, tmp_path, capsys):
    """B23: the record of the page holds them; exit code 2, nothing written."""
    target = tmp_path / "page.html"
    command = ["report", str(evaluated), "--out", str(target), "--pictures", "worst:1"]
    with pytest.raises(SystemExit) as good:
        main([*command, "--viewer", "none", "--anonymous"])
    assert good.value.code == 0
    arguments = json.loads((tmp_path / "page_manifest.json").read_text())["arguments"]
    assert (arguments["viewer"], arguments["is_anonymous"]) == ("none", True)
    assert target.read_text().count('class="strip"') == 1
    assert 'alt="Image, reference, prediction: case 1"' in target.read_text()
    target.unlink()
    with pytest.raises(SystemExit) as bad:
        main([*command, "--viewer", "best:3"])
    assert bad.value.code == 2
    assert "error: --viewer: found 'best:3'" in capsys.readouterr().err
    assert not target.exists()


def test_advice_stands_beside_the_figures_and_damaged_advice_is_one_message(evaluated, tmp_path):
    """A folder of `advise` comes with another one; what is no advice is named."""
    source, target = tmp_path / "advice" / "advice.json", tmp_path / "page.html"
    piece = {"subject": "organ", "verdict": "careful", "metrics": ["dsc"], "why": "it is tiny"}
    write_json(source, {"advice": [{**piece, "source": "paper"}]})
    quick = ReportOptions(pictures="none")
    report(ROOT, [evaluated, source.parent], target, quick)
    assert "<td>be careful with DSC</td><td>it is tiny" in target.read_text()
    target.unlink()
    write_json(source, {"advice": [piece]})
    with pytest.raises(DataError, match=r"advice\.json: found something else"):
        report(ROOT, [evaluated, source.parent], target, quick)
    with pytest.raises(RequestError, match="does not belong in this report"):
        report(ROOT, [source.parent], target, quick)
    assert not target.exists()
