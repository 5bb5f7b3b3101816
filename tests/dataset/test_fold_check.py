"""Folds of anyone's making are checked against the case table (B04)."""

import pytest

from segduet.core.cases import CaseRecord
from segduet.dataset.findings import FindingKind
from segduet.dataset.fold_check import check_folds
from segduet.dataset.folds import Fold, write_splits

PATIENTS = {"a": "p0", "b": "p1", "c": "p2", "d": "p0"}
RECORDS = [CaseRecord(case=case, patient=patient) for case, patient in PATIENTS.items()]
SOUND = Fold(train=("a", "b", "d"), val=("c",))


@pytest.fixture
def splits(tmp_path):
    def write(*folds):
        write_splits(tmp_path / "splits_final.json", folds)
        return tmp_path / "splits_final.json"

    return write


def test_folds_that_keep_patients_together_are_read_without_a_finding(splits):
    assert check_folds(splits(SOUND), RECORDS) == ((SOUND,), [])


def test_a_dataset_without_folds_has_no_finding(tmp_path):
    assert check_folds(tmp_path / "splits_final.json", RECORDS) == ((), [])


def test_a_patient_on_both_sides_of_a_fold_is_an_error(splits):
    """B04: nnU-Net's own folds know no patients."""
    _, (finding,) = check_folds(splits(SOUND, Fold(train=("a", "b"), val=("c", "d"))), RECORDS)
    assert (finding.kind, finding.severity, finding.case) == (FindingKind.PATIENTS, "error", "d")
    assert finding.message == (
        "Fold 1 divides the cases of 1 patient(s), such as 'p0' with 'a' in train and 'd' in val."
    )


def test_a_case_nobody_knows_is_an_error_and_no_patient_of_anyone(splits):
    fold = Fold(train=("a", "zz"), val=("b", "yy"))
    _, (finding,) = check_folds(splits(fold), RECORDS)
    assert (finding.kind, finding.severity) == (FindingKind.FILES, "error")
    assert finding.message == "Fold 0 has 2 case(s) without a row, such as 'yy'."


@pytest.mark.parametrize("content", ['[{"train": 7}]', "[", '[{"train": ["a"], "val": ["a"]}]'])
def test_folds_that_cannot_be_read_are_one_error_and_stop_nothing(content, tmp_path):
    path = tmp_path / "splits_final.json"
    path.write_text(content)
    folds, (finding,) = check_folds(path, RECORDS)
    assert folds == ()
    assert finding.severity == "error"
    assert "splits_final.json" in finding.message
