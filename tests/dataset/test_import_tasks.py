"""B02: several questions of any kind, from a user's table to the raw dataset and its counts."""

import csv
import json

import pytest

from segduet.core.cases import CaseTable
from segduet.core.description import DatasetDescription
from segduet.core.errors import DataError, RequestError
from segduet.dataset.check import check_dataset
from segduet.dataset.importers.options import ImportOptions
from segduet.dataset.importers.registry import IMPORTERS
from segduet.dataset.importers.table import read_table
from segduet.dataset.importers.task_columns import TaskColumn, parse_task_column
from segduet.dataset.raw_writer import write_raw
from segduet.dataset.summary import summarize_dataset

COLUMNS = (
    "cancer:binary:no,yes",
    "findings:multilabel",
    "grade:ordinal:low,mid,high",
    "size:regression:mm",
    "shape",
)
ROWS = {
    "a1": ("no", "none", "low", "4.5", "round"),
    "a2": ("yes", "mass|cyst", "high", "31", "oval"),
    "b1": ("yes", "cyst", "mid", "", "round"),
    "c1": ("", "", "", "12", ""),
}


def options(*columns, **more):
    return ImportOptions(tasks=tuple(parse_task_column(c) for c in columns or COLUMNS), **more)


@pytest.fixture
def many(pictures):
    """The pictures with five columns of answers."""
    with (pictures / "cases.csv").open("w", newline="") as stream:
        names = [column.split(":")[0] for column in COLUMNS]
        rows = [(case, *cells) for case, cells in ROWS.items()]
        csv.writer(stream).writerows([["case", *names], *rows])
    return pictures


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("shape", TaskColumn(name="shape")),
        ("shape:multiclass", TaskColumn(name="shape")),
        ("shape:multiclass:b, a", TaskColumn(name="shape", classes=("b", "a"))),
        ("x:multilabel", TaskColumn(name="x", kind="multilabel")),
        ("g:ordinal:0,1,2", TaskColumn(name="g", kind="ordinal", classes=("0", "1", "2"))),
        ("size:regression", TaskColumn(name="size", kind="regression")),
        ("size:regression:mm", TaskColumn(name="size", kind="regression", unit="mm")),
    ],
)
def test_a_column_says_its_kind_and_classes_or_unit(text, column):
    assert parse_task_column(text) == column


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "found ''; expected NAME"),
        (":binary:a,b", "found ':binary:a,b'"),
        ("grade:ranking", "with a kind among binary, multiclass"),
        ("grade:ordinal:a,b:c", "found 'grade:ordinal:a,b:c'"),
        ("cancer:binary", "without its classes; expected .* the positive one second"),
        ("grade:ordinal", "without its classes; expected .* the lowest first"),
    ],
)
def test_a_column_that_cannot_be_meant_is_refused(text, message):
    with pytest.raises(RequestError, match=message):
        parse_task_column(text)


def test_all_kinds_reach_dataset_json_and_cases_csv(many, target):
    source = read_table(many, options())
    summary = write_raw(source, target, workers=1)
    tasks = DatasetDescription.read(target.raw / "dataset.json").tasks
    assert [(t.name, t.kind, t.classes, t.unit) for t in tasks] == [
        ("cancer", "binary", ("no", "yes"), None),
        ("findings", "multilabel", ("cyst", "mass"), None),
        ("grade", "ordinal", ("low", "mid", "high"), None),
        ("size", "regression", (), "mm"),
        ("shape", "multiclass", ("oval", "round"), None),
    ]
    table = CaseTable.read(target.raw / "cases.csv", tasks)
    assert table.records == source.table.records
    assert summary.class_counts == {
        "cancer": {"no": 1, "yes": 2},
        "findings": {"cyst": 2, "mass": 1, "none": 1},
        "grade": {"low": 1, "mid": 1, "high": 1},
        "size": {"known": 3},
        "shape": {"oval": 1, "round": 2},
    }


def test_a_plain_class_task_is_written_as_before(pictures, target):
    """dataset.json has no keys for what other kinds need."""
    write_raw(read_table(pictures, ImportOptions()), target, workers=1)
    content = json.loads((target.raw / "dataset.json").read_text())
    assert content["segduet"]["tasks"] == [
        {"name": "class", "kind": "multiclass", "classes": ["benign", "malignant"]}
    ]


def test_the_summary_counts_every_kind(many, target):
    write_raw(read_table(many, options()), target, workers=1)
    counts = summarize_dataset(target).cases_per_class
    assert counts["findings"] == {
        "cyst": {"none": 2},
        "mass": {"none": 1},
        "none": {"none": 1},
        "unknown": {"none": 1},
    }
    assert counts["size"] == {"known": {"none": 3}, "unknown": {"none": 1}}


def problems(target) -> list[str]:
    return [f.message for f in check_dataset(target, workers=1)]


def test_check_tells_what_no_network_could_learn(many, target):
    write_raw(read_table(many, options()), target, workers=1)
    path = target.raw / "cases.csv"
    path.write_text(path.read_text().replace("none", "cyst").replace("31", "4.5"))
    path.write_text(path.read_text().replace(",12,", ",,"))
    found = problems(target)
    assert "Every case has the finding 'cyst' of 'findings'." in found
    assert "'size' has fewer than two different values for training." in found
    assert "The case has no value for 'size'." in found


def test_check_names_the_line_of_a_cell_that_is_no_answer(many, target):
    write_raw(read_table(many, options()), target, workers=1)
    path = target.raw / "cases.csv"
    path.write_text(path.read_text().replace("mass|cyst", "mass|mass").replace("4.5", "4mm"))
    found = problems(target)
    assert any(m.startswith("line 2: '4mm' for 'size'; expected a finite number") for m in found)
    assert any(m.startswith("line 3: findings 'mass|mass'") for m in found)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (["cancer:binary:no,perhaps"], "line 3, case 'a2': found class 'yes' for 'cancer'"),
        (["cancer:binary:a,b,c"], "a binary task has exactly two classes, not 3"),
        (["grade:ordinal:low,high"], "line 4, case 'b1': found class 'mid' for 'grade'"),
        (["findings:multilabel:cyst,scar"], "line 3, case 'a2': found class 'mass'"),
        (["findings:multilabel:cyst,none"], "a finding cannot be called 'none'"),
        (["shape:regression"], "line 2, case 'a1': found 'round' for 'shape'"),
        (["weight:regression"], r"without \['weight'\]"),
        (["shape:multiclass:round,round"], r"found the classes \['round', 'round'\]"),
    ],
)
def test_a_column_that_does_not_hold_what_was_said_is_refused(many, columns, message):
    with pytest.raises(DataError, match=message):
        read_table(many, options(*columns))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (options("shape", "shape"), "one of them twice"),
        (options("shape", classes=("a", "b")), "beside a class column or classes"),
        (options("shape", class_column="grade"), "beside a class column or classes"),
        (options("patient"), "a column other than"),
    ],
)
def test_contradicting_columns_are_refused(many, given, message):
    with pytest.raises(RequestError, match=message):
        read_table(many, given)


def test_a_layout_with_its_own_classes_refuses_columns(tmp_path):
    with pytest.raises(RequestError, match="import quiz, option tasks"):
        IMPORTERS["quiz"](tmp_path, options("shape"))
