from pathlib import Path

import numpy as np
import pytest

from segduet.core.cases import CaseRecord, CaseTable, parse_split
from segduet.core.errors import DataError
from segduet.core.tasks import TaskSpec

SUBTYPE = TaskSpec(name="subtype", classes=("benign", "malignant"))
GRADE = TaskSpec(name="grade", classes=("low", "high"))


def record(case: str, *, patient: str = "", split: str = "", **labels: str) -> CaseRecord:
    return CaseRecord(
        case=case, patient=patient or case, split=parse_split(split, where="here"), labels=labels
    )


def table_file(folder: Path, *lines: str) -> Path:
    path = folder / "cases.csv"
    path.write_text("\n".join(["case,patient,site,split,subtype", *lines]) + "\n")
    return path


def test_a_written_table_reads_back_equal_and_keeps_its_order(tmp_path: Path) -> None:
    """B01: case, patient, site, split and one column per task; empty means unknown."""
    records = (
        record("z", patient="p2", split="val", subtype="benign"),
        record("a", patient="p1", split="train", subtype="malignant", grade="low"),
        record("b", patient="p1", split="train"),
    )
    CaseTable(records=records).write(tmp_path / "cases.csv", [SUBTYPE, GRADE])
    table = CaseTable.read(tmp_path / "cases.csv", [SUBTYPE, GRADE])
    assert table.records == records
    assert table.cases == ("z", "a", "b")
    assert (tmp_path / "cases.csv").read_text().splitlines()[:2] == [
        "case,patient,site,split,subtype,grade",
        "z,p2,,val,benign,",
    ]


def test_an_empty_patient_is_the_case_itself(tmp_path: Path) -> None:
    table = CaseTable.read(table_file(tmp_path, "a,,,train,benign"), [SUBTYPE])
    assert table.record("a").patient == "a"


def test_a_case_id_twice_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cases\.csv: found case 'a' more than once"):
        CaseTable.read(table_file(tmp_path, "a,,,train,benign", "a,,,train,benign"), [SUBTYPE])


def test_a_patient_in_two_splits_is_refused_with_both_cases_named(tmp_path: Path) -> None:
    path = table_file(tmp_path, "a,p,,train,benign", "b,p,,val,benign")
    with pytest.raises(DataError, match=r"patient 'p' in split 'train' \(case 'a'\) and 'val' \("):
        CaseTable.read(path, [SUBTYPE])


def test_a_class_that_is_not_declared_is_refused_and_never_class_0(tmp_path: Path) -> None:
    """B01: the message names the file, the line and the case."""
    path = table_file(tmp_path, "a,,,,benign", "b,,,,Benign")
    with pytest.raises(DataError, match=r"cases\.csv, line 3, case 'b': found class 'Benign'"):
        CaseTable.read(path, [SUBTYPE])


def test_an_unknown_case_id_is_an_error() -> None:
    """B01."""
    with pytest.raises(DataError, match="no row for case 'b'"):
        CaseTable(records=(record("a"),)).record("b")


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (",p,,train,benign", "line 2: found an empty case id"),
        ("a,p,,training set,benign", "line 2: found split 'training set'"),
        ("a,p,,train", "line 2: found 4 values"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, line: str, found: str) -> None:
    with pytest.raises(DataError, match=found):
        CaseTable.read(table_file(tmp_path, line), [SUBTYPE])


def test_a_missing_task_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"without \['grade'\]"):
        CaseTable.read(table_file(tmp_path, "a,,,,benign"), [SUBTYPE, GRADE])


@pytest.mark.parametrize(
    ("text", "split"), [("validation", "val"), ("training", "train"), ("test", "test"), ("", "")]
)
def test_split_names_are_understood(text: str, split: str) -> None:
    assert parse_split(text, where="here") == split


def test_splits_and_classes_are_counted_and_unknown_labels_are_not() -> None:
    table = CaseTable(
        records=(
            record("a", split="train", subtype="malignant"),
            record("b", split="train"),
            record("c", split="val", subtype="benign"),
            record("d", split="val", subtype="malignant"),
        )
    )
    assert (len(table), table.of_split("train"), table.of_split("test")) == (4, ("a", "b"), ())
    assert table.class_counts(SUBTYPE, table.cases) == (1, 2)
    assert table.class_counts(SUBTYPE, table.of_split("train")) == (0, 1)


def test_counting_a_case_that_is_not_in_the_table_is_an_error() -> None:
    with pytest.raises(DataError, match="no row for case 'x'"):
        CaseTable(records=(record("a"),)).class_counts(SUBTYPE, ["x"])


KINDS = (
    TaskSpec(name="cancer", kind="binary", classes=("no", "yes")),
    TaskSpec(name="findings", kind="multilabel", classes=("cyst", "mass")),
    TaskSpec(name="grade", kind="ordinal", classes=("low", "mid", "high")),
    TaskSpec(name="size", kind="regression", unit="mm"),
)


def test_a_table_of_all_kinds_reads_back_equal_and_becomes_targets(tmp_path: Path) -> None:
    """B02: no finding is knowledge, an empty cell is not."""
    records = (
        record("a", cancer="yes", findings="mass|cyst", grade="high", size="12.5"),
        record("b", cancer="no", findings="none"),
        record("c"),
    )
    CaseTable(records=records).write(tmp_path / "cases.csv", KINDS)
    table = CaseTable.read(tmp_path / "cases.csv", KINDS)
    assert table.records == records
    targets = [table.targets(task, table.cases) for task in KINDS]
    nan = np.nan
    np.testing.assert_array_equal(targets[0], [[1], [0], [nan]])
    np.testing.assert_array_equal(targets[1], [[1, 1], [0, 0], [nan, nan]])
    np.testing.assert_array_equal(targets[2], [[2], [nan], [nan]])
    np.testing.assert_array_equal(targets[3], [[12.5], [nan], [nan]])
    assert table.class_counts(KINDS[1], table.cases) == (1, 1)
    assert table.class_counts(KINDS[3], table.cases) == ()
    assert table.targets(KINDS[1], []).shape == (0, 2)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ("perhaps,,,", "class 'perhaps' for 'cancer'"),
        (",cyst|scar,,", "class 'scar' for 'findings'"),
        (",,3,", "class '3' for 'grade'"),
        (",,,nan", "'nan' for 'size'"),
    ],
)
def test_a_cell_that_is_no_answer_is_refused_by_line(tmp_path: Path, cells, message) -> None:
    path = tmp_path / "cases.csv"
    header = "case,patient,site,split,cancer,findings,grade,size"
    path.write_text(f"{header}\na,,,,,,,\nb,,,,{cells}\n")
    with pytest.raises(DataError, match=rf"cases\.csv, line 3, case 'b': found {message}"):
        CaseTable.read(path, KINDS)
