from pathlib import Path

import numpy as np
import pytest

from segduet.core.cases import CaseRecord, CaseTable
from segduet.core.errors import DataError
from segduet.core.geometry import Geometry
from segduet.core.labels import LabelScheme
from segduet.core.tasks import TaskSpec
from segduet.evaluation.evaluate import References, evaluate_folder
from segduet.io.images import write_label_map

GRID = Geometry(shape_zyx=(2, 3, 4), spacing_zyx_mm=(2.0, 1.0, 1.0))
TASK = TaskSpec(name="subtype", classes=("a", "b"))
CASES = ("c1", "c2", "c3")
ANSWERS = {case: {"subtype": np.array([0.25, 0.75])} for case in CASES}


def write_mask(folder: Path, case: str, count: int) -> None:
    mask = np.zeros(GRID.shape_zyx, dtype=np.uint8)
    mask.ravel()[:count] = 1
    write_label_map(folder / f"{case}.nii.gz", mask, GRID)


@pytest.fixture
def references(tmp_path) -> References:
    """c1 in labelsTr, c2 in labelsTs, c3 with a class only."""
    write_mask(tmp_path / "labelsTr", "c1", 8)
    write_mask(tmp_path / "labelsTs", "c2", 4)
    records = [CaseRecord(case=c, patient=c, labels={"subtype": "b"}) for c in CASES]
    return References(
        table=CaseTable(records=tuple(records)),
        mask_folders=(tmp_path / "labelsTr", tmp_path / "labelsTs"),
        file_ending=".nii.gz",
        labels=LabelScheme(labels=(("background", (0,)), ("organ", (1,)))),
        tasks=(TASK,),
    )


@pytest.fixture
def predictions(tmp_path) -> Path:
    for case in CASES:
        write_mask(tmp_path / "predictions", case, 4)
    return tmp_path / "predictions"


@pytest.mark.parametrize("workers", [1, 3])
def test_scores_every_case_in_table_order(references, predictions, workers):
    """F81, B03: masks from either folder; a case without a mask keeps its class answer."""
    scores = evaluate_folder(references, predictions, answers=ANSWERS, workers=workers)
    assert [s.case for s in scores] == ["c1", "c2", "c3"]
    assert scores[0].segmentation["organ"]["dsc"].value == pytest.approx(8 / 12)
    assert scores[1].segmentation["organ"]["dsc"].value == 1.0
    assert scores[2].segmentation == {}
    assert scores[2].answers["subtype"].predicted == "b"


def test_missing_mask_is_an_error_naming_the_case(references, predictions):
    """F81: never skipped, as a published evaluation did (seeds.md 1.1)."""
    (predictions / "c2.nii.gz").unlink()
    with pytest.raises(DataError, match="case 'c2': found no predicted mask"):
        evaluate_folder(references, predictions, answers=ANSWERS)


def test_missing_answer_is_an_error_naming_the_case(references, predictions):
    """F80: never class 0 by default."""
    answers = {c: a for c, a in ANSWERS.items() if c != "c3"}
    with pytest.raises(DataError, match="case 'c3': found no predicted answer for 'subtype'"):
        evaluate_folder(references, predictions, answers=answers)


def test_extra_prediction_is_an_error_unless_cases_are_named(references, predictions):
    write_mask(predictions, "stranger", 2)
    with pytest.raises(DataError, match="stranger"):
        evaluate_folder(references, predictions, answers=ANSWERS)
    scores = evaluate_folder(references, predictions, answers=ANSWERS, cases=["c2"])
    assert [s.case for s in scores] == ["c2"]


def test_named_case_must_be_in_the_table(references, predictions):
    with pytest.raises(DataError, match="'nobody'"):
        evaluate_folder(references, predictions, answers=ANSWERS, cases=["nobody"])


def test_case_without_anything_known_is_an_error(references, predictions):
    table = CaseTable(records=(CaseRecord(case="c9", patient="c9"),))
    unknown = References(
        table=table,
        mask_folders=references.mask_folders,
        file_ending=".nii.gz",
        labels=references.labels,
    )
    with pytest.raises(DataError, match=r"'c9'.*neither a reference mask nor a known class"):
        evaluate_folder(unknown, predictions, answers={}, cases=["c9"])
    with pytest.raises(DataError, match="no case with a reference"):
        evaluate_folder(unknown, predictions, answers={})
