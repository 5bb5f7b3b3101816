"""`predictions.csv`: written whole, read back strictly (F80: no invented classes)."""

import numpy as np
import pytest

from segduet.core.errors import DataError, StorageError
from segduet.core.geometry import Geometry
from segduet.core.prediction import FailedCase, Prediction
from segduet.core.tasks import TaskSpec
from segduet.inference.answers_file import AnswerRow, JudgedColumns, read_answers, write_answers

_TASKS = (
    TaskSpec(name="subtype", classes=("0", "1", "2")),
    TaskSpec(name="grade", classes=("low", "high"), evidence_region="lesion"),
)


def _prediction(case="a", subtype=(0.2, 0.7, 0.1)):
    return Prediction(
        case=case,
        label_map=np.zeros((1, 2, 2), np.uint8),
        geometry=Geometry(shape_zyx=(1, 2, 2), spacing_zyx_mm=(1.0, 1.0, 1.0)),
        probabilities={"subtype": np.array(subtype), "grade": np.array([1 / 3, 2 / 3])},
        evidence={"subtype": 12.5, "grade": 0.0},
        seconds={"prepare": 0.25, "network": 1.5},
    )


@pytest.fixture
def table(tmp_path):
    write_answers(
        tmp_path / "predictions.csv",
        [_prediction(), FailedCase(case="b", message='cut short, "half" a file')],
        _TASKS,
    )
    return tmp_path / "predictions.csv"


def test_the_header_and_lines_are_these(table):
    lines = table.read_text().splitlines()
    assert lines == [
        "case,status,message,seconds,"
        "subtype,subtype:0,subtype:1,subtype:2,evidence:subtype,"
        "grade,grade:low,grade:high,evidence:grade",
        "a,ok,,1.750,1,0.2,0.7,0.1,12.5,high,0.3333333333333333,0.6666666666666666,0.0",
        'b,failed,"cut short, ""half"" a file",0.000,,,,,,,,,',
    ]


def test_reading_gives_what_was_written(table):
    assert read_answers(table, _TASKS) == [
        AnswerRow(
            case="a",
            status="ok",
            seconds=1.75,
            labels={"subtype": "1", "grade": "high"},
            probabilities={"subtype": (0.2, 0.7, 0.1), "grade": (1 / 3, 2 / 3)},
            evidence={"subtype": 12.5, "grade": 0.0},
        ),
        AnswerRow(case="b", status="failed", message='cut short, "half" a file'),
    ]


def test_rows_write_as_the_predictions_they_were_made_of(table, tmp_path):
    rows = [AnswerRow.of(_prediction(), _TASKS)]
    write_answers(tmp_path / "rows.csv", [*rows, *read_answers(table, _TASKS)[1:]], _TASKS)
    assert (tmp_path / "rows.csv").read_bytes() == table.read_bytes()


def test_a_model_without_tasks_has_cases_and_times_only(tmp_path):
    write_answers(tmp_path / "p.csv", [_prediction()], ())
    assert (tmp_path / "p.csv").read_text() == "case,status,message,seconds\na,ok,,1.750\n"
    assert read_answers(tmp_path / "p.csv", ()) == [AnswerRow(case="a", status="ok", seconds=1.75)]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("a,ok", "a,fine", "status 'fine'"),
        ("a,ok", ",ok", "case ''"),
        ("b,failed", "a,failed", "case 'a': found a second line"),
        (",1,0.2", ",7,0.2", "line 2, case 'a': found class '7' for 'subtype'"),
        (",1,0.2", ",,0.2", "found an empty answer to 'subtype'"),
        ("0.7", "nan", r"line 2, case 'a', column 'subtype:1': found 'nan'"),
        ("0.7", "", "column 'subtype:1': found ''"),
        ("0.7", "inf", "column 'subtype:1': found 'inf'"),
        ("0.2,0.7", "-0.1,1.0", "column 'subtype:0': found '-0.1'"),
        ("0.7", "0.6", "sum to 0.9"),
        ("12.5", "-1", "column 'evidence:subtype'"),
        ("1.750", "soon", "column 'seconds': found 'soon'"),
        ("grade:low", "grade:lower", r"missing columns \['grade:low'\], unknown .*'grade:lower'"),
        ("message,seconds", "message,minutes", r"missing columns \['seconds'\]"),
    ],
)
def test_a_damaged_table_is_refused_by_place(table, old, new, message):
    text = table.read_text()
    assert old in text
    table.write_text(text.replace(old, new, 1))
    with pytest.raises(DataError, match=message):
        read_answers(table, _TASKS)


def test_answers_for_other_tasks_are_refused(table):
    with pytest.raises(DataError, match="unknown columns"):
        read_answers(table, _TASKS[:1])


def test_probabilities_rounded_to_three_digits_are_accepted(table):
    table.write_text(
        table.read_text().replace("0.3333333333333333,0.6666666666666666", ".333,.666")
    )
    assert read_answers(table, _TASKS)[0].probabilities["grade"] == (0.333, 0.666)


@pytest.mark.parametrize("name", ["message", "status", "seconds"])
def test_a_task_named_like_a_fixed_column_is_refused(tmp_path, name):
    task = TaskSpec(name=name, classes=("a", "b"))
    with pytest.raises(DataError, match="two have the same name"):
        write_answers(tmp_path / "p.csv", [], (task,))


def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError):
        write_answers(tmp_path / "file" / "predictions.csv", [], _TASKS)


_KINDS = (
    TaskSpec(name="cancer", kind="binary", classes=("no", "yes")),
    TaskSpec(name="findings", kind="multilabel", classes=("cyst", "mass")),
    TaskSpec(name="grade", kind="ordinal", classes=("low", "mid", "high")),
    TaskSpec(name="size", kind="regression", unit="mm"),
)


@pytest.fixture
def table_of_kinds(tmp_path):
    answers = {
        "cancer": np.array([0.25, 0.75]),
        "findings": np.array([0.875, 0.625]),
        "grade": np.array([0.4, 0.25, 0.35]),
        "size": np.array([1 / 3]),
    }
    prediction = Prediction(
        case="a",
        label_map=np.zeros((1, 2, 2), np.uint8),
        geometry=Geometry(shape_zyx=(1, 2, 2), spacing_zyx_mm=(1.0, 1.0, 1.0)),
        probabilities=answers,
        evidence=dict.fromkeys(answers, 2.0),
    )
    write_answers(tmp_path / "predictions.csv", [prediction], _KINDS)
    return tmp_path / "predictions.csv"


def test_every_kind_has_its_columns_and_reads_back_in_full_precision(table_of_kinds):
    """B02: a set of findings and its probabilities; the median grade; a number once."""
    assert table_of_kinds.read_text().splitlines() == [
        "case,status,message,seconds,cancer,cancer:no,cancer:yes,evidence:cancer,"
        "findings,findings:cyst,findings:mass,evidence:findings,"
        "grade,grade:low,grade:mid,grade:high,evidence:grade,size,evidence:size",
        "a,ok,,0.000,yes,0.25,0.75,2.0,cyst|mass,0.875,0.625,2.0,"
        "mid,0.4,0.25,0.35,2.0,0.3333333333333333,2.0",
    ]
    row = read_answers(table_of_kinds, _KINDS)[0]
    assert row.labels["findings"] == "cyst|mass"
    assert row.probabilities["findings"] == (0.875, 0.625)
    assert row.probabilities["size"] == (1 / 3,)
    write_answers(table_of_kinds.with_name("again.csv"), [row], _KINDS)
    assert table_of_kinds.with_name("again.csv").read_bytes() == table_of_kinds.read_bytes()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("0.3333333333333333", "big", "found 'big' for 'size'"),
        ("0.3333333333333333", "", "an empty answer to 'size'"),
        ("cyst|mass", "cyst|scar", "class 'scar' for 'findings'"),
        ("cyst|mass", "", "an empty answer to 'findings'"),
        ("0.625", "1.5", "expected probabilities of at most 1"),
        ("0.75", "0.5", "sum to 0.75"),
    ],
)
def test_a_damaged_answer_of_any_kind_is_refused(table_of_kinds, old, new, message):
    table_of_kinds.write_text(table_of_kinds.read_text().replace(old, new, 1))
    with pytest.raises(DataError, match=message):
        read_answers(table_of_kinds, _KINDS)


@pytest.fixture
def judged_table(tmp_path):
    rows = [
        AnswerRow(
            case="a",
            status="ok",
            labels={"subtype": "1", "grade": "high"},
            probabilities={"subtype": (0.2, 0.7, 0.1), "grade": (0.25, 0.75)},
            evidence={"subtype": 12.5, "grade": 0.0},
            sets={"subtype": ("0", "1")},
            abstains={"subtype": True},
            consistency="grade: high without lesion",
        ),
        AnswerRow(case="b", status="failed", message="cut short"),
        AnswerRow(
            case="c",
            status="ok",
            labels={"subtype": "0", "grade": "low"},
            probabilities={"subtype": (0.4, 0.3, 0.3), "grade": (0.75, 0.25)},
            evidence={"subtype": 1.0, "grade": 0.0},
            sets={"subtype": ()},
            abstains={"subtype": False},
            consistency="",
        ),
    ]
    judged = JudgedColumns(tasks=_TASKS[:1], has_consistency=True)
    write_answers(tmp_path / "predictions.csv", iter(rows), _TASKS, judged)
    return tmp_path / "predictions.csv", rows


def test_sets_abstentions_and_flags_follow_and_read_back(judged_table):
    """B16: only where a calibration adds them; an empty set is an empty cell."""
    table, rows = judged_table
    lines = table.read_text().splitlines()
    assert lines[0].endswith("evidence:grade,subtype_set,subtype_abstain,consistency")
    assert lines[1].endswith("0.0,0|1,yes,grade: high without lesion")
    assert lines[2].endswith(",,,")
    assert lines[3].endswith("0.0,,no,")
    assert read_answers(table, _TASKS) == rows
    assert [row.is_flagged for row in rows] == [True, False, False]


def test_columns_of_a_calibration_stand_there_though_every_case_failed(tmp_path):
    judged = JudgedColumns(tasks=_TASKS[:1])
    failed = [FailedCase(case="b", message="x")]
    write_answers(tmp_path / "p.csv", failed, _TASKS, judged)
    header = (tmp_path / "p.csv").read_text().splitlines()[0]
    assert header.endswith("subtype_set,subtype_abstain")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("0|1,yes", "0|7,yes", "class '7' for 'subtype'"),
        ("0|1,yes", "0|0,yes", r"the set '0\|0'"),
        ("0|1,yes", "0|1,maybe", "abstention 'maybe'"),
        ("subtype_abstain", "subtype_left", "unknown columns .*'subtype_left'"),
        ("subtype_set", "grade_set", r"missing columns .*'subtype_set'"),
    ],
)
def test_a_damaged_judgement_is_refused(judged_table, old, new, message):
    table, _ = judged_table
    text = table.read_text()
    assert old in text
    table.write_text(text.replace(old, new, 1))
    with pytest.raises(DataError, match=message):
        read_answers(table, _TASKS)


def test_a_task_that_is_called_like_a_flag_is_no_flag(tmp_path):
    task = TaskSpec(name="consistency", classes=("soft", "firm"))
    row = AnswerRow(
        case="a",
        status="ok",
        labels={"consistency": "firm"},
        probabilities={"consistency": (0.25, 0.75)},
        evidence={"consistency": 1.0},
    )
    write_answers(tmp_path / "p.csv", [row], (task,))
    assert read_answers(tmp_path / "p.csv", (task,)) == [row]
    with pytest.raises(DataError, match="two have the same name"):
        write_answers(tmp_path / "p.csv", [row], (task,), JudgedColumns(has_consistency=True))
