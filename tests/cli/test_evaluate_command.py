"""`evaluate`: what it prints, what it leaves out, and what it says of bad input (issue 5).

A missing prediction or answer, an extra mask, another spacing and a damaged summary are in
`test_bad_input.py`, damaged scores of `compare` in `test_compare_command.py`.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segduet.core.cases import CaseRecord, CaseTable
from segduet.core.description import DatasetDescription, SegduetSection
from segduet.core.geometry import Geometry
from segduet.core.prediction import Prediction
from segduet.core.tasks import TaskSpec
from segduet.inference.answers_file import write_answers
from segduet.io.images import write_label_map

GRID = Geometry(shape_zyx=(2, 6, 6), spacing_zyx_mm=(3.0, 1.0, 1.0))
TASK = TaskSpec(name="kind", classes=("a", "b"))
CASES = tuple(f"c{i}" for i in range(8))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cohort:
    """References, predictions and the command that scores them."""

    reference: Path
    predictions: Path
    out: Path
    segduet: Callable[..., Any]

    def evaluate(self, *more: object) -> Any:
        """Scores every case."""
        return self.segduet(
            *("evaluate", "--reference", self.reference, "--predictions", self.predictions),
            *("--out", self.out, "--data-root", self.reference / "none", "--workers", 1, *more),
        )

    def write_table(self, classes: dict[str, str]) -> None:
        """cases.csv with these cases and their classes."""
        records = [CaseRecord(case=c, patient=c, labels={"kind": k}) for c, k in classes.items()]
        CaseTable(records=tuple(records)).write(self.reference / "cases.csv", [TASK])

    def change_answer(self, case: str, old: str, new: str) -> None:
        """Edits the line of a case in predictions.csv."""
        table = self.predictions / "predictions.csv"
        lines = table.read_text().splitlines()
        at = next(i for i, line in enumerate(lines) if line.startswith(f"{case},"))
        assert old in lines[at], lines[at]
        lines[at] = lines[at].replace(old, new)
        table.write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight cases of two classes, all predicted rightly."""
    folder = tmp_path_factory.mktemp("whole")
    label_map = np.zeros(GRID.shape_zyx, np.uint8)
    label_map[:, 1:4, 1:5] = 1
    answers = []
    for number, case in enumerate(CASES):
        for side in ("reference/labelsTr", "predictions"):
            write_label_map(folder / side / f"{case}.nii.gz", label_map, GRID)
        answers.append(
            Prediction(
                case=case,
                label_map=label_map,
                geometry=GRID,
                probabilities={"kind": np.array([0.875, 0.125])[:: 1 - 2 * (number % 2)]},
                evidence={"kind": 1.0},
            )
        )
    write_answers(folder / "predictions" / "predictions.csv", answers, [TASK])
    DatasetDescription(
        channel_names={"0": "CT"},
        labels={"background": 0, "organ": 1},
        numTraining=len(CASES),
        file_ending=".nii.gz",
        segduet=SegduetSection(tasks=(TASK,)),
    ).write(folder / "reference" / "dataset.json")
    return folder


@pytest.fixture
def cohort(whole: Path, tmp_path: Path, segduet: Callable) -> Cohort:
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    found = Cohort(
        reference=tmp_path / "reference",
        predictions=tmp_path / "predictions",
        out=tmp_path / "out",
        segduet=segduet,
    )
    found.write_table({case: "ab"[number % 2] for number, case in enumerate(CASES)})
    return found


def put_7(array: np.ndarray) -> np.ndarray:
    changed = array.copy()
    changed[0, 2, 2] = 7
    return changed


@pytest.mark.parametrize("side", ["predictions", "reference/labelsTr"])
def test_a_label_nobody_declared(
    side: str, cohort: Cohort, rewrite: Callable, refused: Callable
) -> None:
    rewrite(cohort.predictions.parent / side / "c5.nii.gz", put_7)
    what = "predicted mask" if side == "predictions" else "reference mask"
    refused(cohort.evaluate(), f"case 'c5', {what}", "label values [7]", "only [0, 1]")
    assert not cohort.out.exists()


def test_a_mask_of_another_shape(cohort: Cohort, rewrite: Callable, refused: Callable) -> None:
    rewrite(cohort.predictions / "c5.nii.gz", lambda array: array[:, :, 1:])
    refused(cohort.evaluate(), "case 'c5'", "shape (2, 6, 5) and (2, 6, 6)", "never resample")
    assert not cohort.out.exists()


def test_a_mask_that_was_cut_short(cohort: Cohort, refused: Callable) -> None:
    mask = cohort.predictions / "c5.nii.gz"
    mask.write_bytes(mask.read_bytes()[:-20])
    refused(cohort.evaluate(), "c5.nii.gz", "cut short")
    assert not cohort.out.exists()


def test_an_answer_to_a_case_nobody_asked_about(cohort: Cohort, refused: Callable) -> None:
    table = cohort.predictions / "predictions.csv"
    last = table.read_text().splitlines()[-1]
    table.write_text(table.read_text() + last.replace("c7", "c9") + "\n")
    refused(cohort.evaluate(), "1 cases without a reference", "'c9'")
    assert not cohort.out.exists()


@pytest.mark.parametrize(
    ("number", "found"),
    [
        ("nan", "'nan'"),
        ("inf", "'inf'"),
        ("-0.125", "'-0.125'"),
        ("0.5", "probabilities (0.875, 0.5)"),
    ],
)
def test_probabilities_that_are_none(
    number: str, found: str, cohort: Cohort, refused: Callable
) -> None:
    """Not finite, negative, or of a sum that is not 1."""
    cohort.change_answer("c4", "0.125", number)
    refused(cohort.evaluate(), "case 'c4'", "kind", f"found {found}")
    assert not cohort.out.exists()


def test_an_answer_that_is_no_class(cohort: Cohort, refused: Callable) -> None:
    cohort.change_answer("c4", ",a,", ",z,")
    refused(cohort.evaluate(), "c4", "'z'")
    assert not cohort.out.exists()


def test_a_cohort_of_nobody(cohort: Cohort, refused: Callable) -> None:
    """A table without a line; then one whose only case has neither mask nor class."""
    for table in (
        "case,patient,site,split,kind\n",
        "case,patient,site,split,kind\nc20,c20,,,\n",
    ):
        (cohort.reference / "cases.csv").write_text(table)
        for file in cohort.predictions.iterdir():
            file.unlink()
        refused(cohort.evaluate(), "cases.csv")
        assert not cohort.out.exists()


def test_a_reference_of_one_class_states_what_cannot_be_known(cohort: Cohort) -> None:
    """F56: no error, since masks and accuracy can be judged; every other figure says why."""
    cohort.write_table(dict.fromkeys(CASES, "a"))
    finished = cohort.evaluate("--json")
    assert finished.code == 0, finished.err
    kind = finished.json()["classification"]["kind"]
    assert (kind["accuracy"]["value"], kind["accuracy"]["n"]) == (0.5, 8)
    for metric in ("auroc", "average_precision"):
        assert kind[metric]["value"] is None
        assert kind[metric]["reason"] == "classes ['b'] do not occur in the reference"
    assert "p_chance" not in kind["macro_f1"]
    assert (cohort.out / "summary.json").is_file()


def test_a_perfect_cohort_has_an_interval_in_what_is_printed(cohort: Cohort) -> None:
    """F83, B19: 8 of 8 right, the four of each class: 7 / (7 + t(7)^2) = 0.556."""
    said = cohort.evaluate().out
    assert "macro-F1 kind: 1.000 (95 % interval 0.556-1.000, n = 8, against chance p" in said
    # every DSC is 1, of which nothing follows for other patients
    assert "DSC organ: 1.000 (no interval, n = 8)" in said
    summary = json.loads((cohort.out / "summary.json").read_text())
    assert summary["classification"]["kind"]["macro_f1"]["ci95"][1] == 1.0


def test_overlap_only_leaves_out_surfaces_and_lesions_and_changes_nothing_else(
    cohort: Cohort, rewrite: Callable
) -> None:
    """Issue 5: the fast road; one mask is a row too short, so that figures differ from 1."""
    rewrite(cohort.predictions / "c5.nii.gz", lambda array: array * (np.arange(6) != 3)[:, None])
    whole = cohort.evaluate("--json").json()
    finished = cohort.evaluate("--overlap-only", "--json")
    assert finished.code == 0, finished.err
    fast = finished.json()
    left_out = {"nsd", "hd95_mm", "assd_mm", "lesion_recall", "lesion_precision", "lesion_f1"}
    figures = whole["segmentation"]["organ"]
    assert 0.97 < figures["dsc"]["mean"] < 1
    assert set(figures) - set(fast["segmentation"]["organ"]) == left_out
    assert fast["segmentation"]["organ"] == {m: f for m, f in figures.items() if m not in left_out}
    assert (whole["nsd_tolerance_mm"], fast["nsd_tolerance_mm"]) == (2.0, None)
    assert fast["classification"] == whole["classification"]
    columns = (cohort.out / "scores.csv").read_text().splitlines()[0].split(",")
    assert "organ/dsc" in columns
    assert not left_out & {column.removeprefix("organ/") for column in columns}
    page = cohort.out.parent / "report.html"
    assert cohort.segduet("report", cohort.out, "--out", page).code == 0
    assert "NSD" not in page.read_text()


def test_neither_masks_nor_classes(cohort: Cohort, refused: Callable) -> None:
    refused(cohort.evaluate("--overlap-only", "--classes-only"), "both --overlap-only and")
    for without in ("--overlap-only", "--classes-only"):
        told = f"--nsd-tolerance-mm with {without}"
        refused(cohort.evaluate(without, "--nsd-tolerance-mm", 2), told)
    assert not cohort.out.exists()


@pytest.mark.parametrize("file", ["summary.json", "scores.csv"])
def test_reporting_damaged_metrics(file: str, cohort: Cohort, refused: Callable) -> None:
    assert cohort.evaluate().code == 0
    damaged, page = cohort.out / file, cohort.out.parent / "report.html"
    damaged.write_bytes(damaged.read_bytes()[: damaged.stat().st_size // 2])
    refused(cohort.segduet("report", cohort.out, "--out", page), file)
    assert not page.exists()
