"""F06, B04: stratified folds that keep patients together."""

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segduet.core.cases import CaseRecord, CaseTable
from segduet.core.errors import DataError
from segduet.core.tasks import TaskSpec
from segduet.dataset.folds import (
    Fold,
    check_leak,
    declared_fold,
    read_splits,
    stratified_grouped_folds,
    stratifying_task,
    write_splits,
)

TASK = TaskSpec(name="subtype", classes=("a", "b", "c"))


def table_of(*rows):
    """Rows of (case, patient, class, split); class and split may be left out."""
    records = [
        CaseRecord(
            case=case,
            patient=patient,
            labels={"subtype": rest[0]} if rest and rest[0] else {},
            split=rest[1] if len(rest) > 1 else "",
        )
        for case, patient, *rest in rows
    ]
    return CaseTable(records=tuple(records))


def one_case_each(**counts):
    names = [(f"{label}{i:03d}", label) for label, n in counts.items() for i in range(n)]
    return table_of(*[(case, case, label) for case, label in names])


def split(table, *, num_folds=5, seed=0, task=TASK):
    return stratified_grouped_folds(table, task, cases=table.cases, num_folds=num_folds, seed=seed)


def assert_partition(table, folds):
    assert sorted(c for f in folds for c in f.val) == sorted(table.cases)
    for fold in folds:
        assert sorted((*fold.train, *fold.val)) == sorted(table.cases)
        patients = [{table.record(c).patient for c in part} for part in (fold.train, fold.val)]
        assert not patients[0] & patients[1]


@given(
    counts=st.tuples(*[st.integers(5, 25)] * 3),
    num_folds=st.integers(2, 5),
    seed=st.integers(0, 99),
)
def test_one_case_per_patient_spreads_every_class_within_one_case(counts, num_folds, seed):
    """F06: disjoint, cover all, class ratios within one case."""
    table = one_case_each(**dict(zip("abc", counts, strict=True)))
    folds = split(table, num_folds=num_folds, seed=seed)
    assert_partition(table, folds)
    for values in zip(*[table.class_counts(TASK, f.val) for f in folds], strict=True):
        assert max(values) - min(values) <= 1
    sizes = [len(f.val) for f in folds]
    assert max(sizes) - min(sizes) <= 1


def test_quiz_counts_fall_into_the_hand_worked_folds():
    """62, 106 and 84 cases in 5 folds: 12-13, 21-22 and 16-17 each, 50 or 51 in all."""
    table = one_case_each(a=62, b=106, c=84)
    folds = split(table)
    per_class = list(zip(*[table.class_counts(TASK, f.val) for f in folds], strict=True))
    assert [Counter(values) for values in per_class] == [
        {12: 3, 13: 2},
        {21: 4, 22: 1},
        {16: 1, 17: 4},
    ]
    assert Counter(len(f.val) for f in folds) == {50: 3, 51: 2}


@given(
    patients=st.lists(
        st.tuples(st.integers(1, 4), st.sampled_from(["a", "b", "c", ""])), min_size=12, max_size=40
    ),
    seed=st.integers(0, 9),
)
def test_patients_are_never_split(patients, seed):
    """B04: leak-free for any grouping; unknown classes are spread too."""
    rows = [
        (f"p{p}_{i}", f"p{p}", label) for p, (n, label) in enumerate(patients) for i in range(n)
    ]
    table = table_of(*rows)
    folds = split(table, num_folds=3, seed=seed, task=None)
    assert_partition(table, folds)


@given(sizes=st.lists(st.integers(1, 3), min_size=10, max_size=30), seed=st.integers(0, 9))
def test_patients_of_one_class_are_balanced_within_the_largest_patient(sizes, seed):
    rows = [(f"p{p}_{i}", f"p{p}", "ab"[p % 2]) for p, n in enumerate(sizes) for i in range(n)]
    table = table_of(*rows)
    task = TaskSpec(name="subtype", classes=("a", "b"))
    folds = split(table, num_folds=3, seed=seed, task=task)
    assert_partition(table, folds)
    for values in zip(*[table.class_counts(task, f.val) for f in folds], strict=True):
        assert max(values) - min(values) <= max(sizes)


def test_same_seed_same_folds_whatever_the_order_of_cases():
    """F06."""
    table = one_case_each(a=20, b=20, c=20)
    again = stratified_grouped_folds(table, TASK, cases=table.cases[::-1], seed=3)
    assert split(table, seed=3) == again
    assert split(table, seed=4) != again


def test_only_the_cases_asked_for_are_split():
    table = one_case_each(a=10, b=10, c=10)
    cases = [c for c in table.cases if c.endswith(("1", "3", "5", "7", "9"))]
    folds = stratified_grouped_folds(table, TASK, cases=cases)
    assert sorted(c for f in folds for c in f.val) == sorted(cases)


def test_class_with_one_case_is_refused_by_name():
    with pytest.raises(DataError, match=r"class 'b': found 1 case of 1 patient; expected patients"):
        split(one_case_each(a=10, b=1, c=10))


def test_class_of_many_cases_but_few_patients_is_refused():
    rows = [(f"b{i}", f"p{i % 2}", "b") for i in range(8)]
    rows += [(f"{label}{i}", f"{label}{i}", label) for label in "ac" for i in range(8)]
    with pytest.raises(DataError, match="class 'b': found 8 cases of 2 patients"):
        split(table_of(*rows))


def test_class_without_cases_is_refused():
    with pytest.raises(DataError, match="class 'c': found 0 cases of 0 patients"):
        split(one_case_each(a=10, b=10))


def test_empty_dataset_is_refused():
    with pytest.raises(DataError, match="the dataset: found 0 cases of 0 patients"):
        split(table_of())


def test_case_the_table_does_not_have_is_refused():
    with pytest.raises(DataError, match="no row for case 'x'"):
        stratified_grouped_folds(one_case_each(a=9), None, cases=["x"])


def test_declared_split_is_one_fold_without_test_cases():
    """F05."""
    table = table_of(("1", "1", "a", "train"), ("2", "2", "a", "val"), ("3", "3", "a", "test"))
    assert declared_fold(table) == Fold(train=("1",), val=("2",))


@pytest.mark.parametrize("splits", [("", "", ""), ("train", "train", "test")])
def test_no_validation_cases_means_no_declared_fold(splits):
    rows = [(str(i), str(i), "a", s) for i, s in enumerate(splits)]
    assert declared_fold(table_of(*rows)) is None


@pytest.mark.parametrize("other", ["", "val"])
def test_half_declared_split_is_refused(other):
    table = table_of(("1", "1", "a", "val"), ("2", "2", "a", other), ("3", "3", "a", other))
    with pytest.raises(DataError, match=r"cases in val, 0 in train"):
        declared_fold(table)


def test_leak_is_told_with_patient_and_cases():
    table = table_of(("1", "p", "a"), ("2", "p", "a"), ("3", "q", "a"))
    check_leak(table, Fold(train=("1", "2"), val=("3",)))
    with pytest.raises(DataError, match=r"patient 'p' in train \(case '1'\) and val \(case '2'\)"):
        check_leak(table, Fold(train=("1", "3"), val=("2",)))
    with pytest.raises(DataError, match="case '9', which"):
        check_leak(table, Fold(train=("1",), val=("9",)))


def test_splits_file_round_trip_is_nnunets_format(tmp_path):
    """F05."""
    folds = (Fold(train=("1", "2"), val=("3",)), Fold(train=("3",), val=("1", "2")))
    write_splits(tmp_path / "splits_final.json", folds)
    assert json.loads((tmp_path / "splits_final.json").read_text()) == [
        {"train": ["1", "2"], "val": ["3"]},
        {"train": ["3"], "val": ["1", "2"]},
    ]
    assert read_splits(tmp_path / "splits_final.json") == folds


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([{"train": ["1"]}], "0.val"),
        ({"train": ["1"], "val": []}, "a list of"),
        ([{"train": ["1", "2"], "val": ["2"]}], "fold 0: found case '2' in train and val"),
    ],
)
def test_unusable_splits_file_is_refused(tmp_path, content, message):
    (tmp_path / "s.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=message):
        read_splits(tmp_path / "s.json")


FINDINGS = TaskSpec(name="findings", kind="multilabel", classes=("cyst", "mass"))
GRADE = TaskSpec(name="grade", kind="ordinal", classes=("low", "high"))
SIZE = TaskSpec(name="size", kind="regression", unit="mm")


def labelled(task, labels, *, cases_per_patient=1):
    records = [
        CaseRecord(
            case=f"c{i:03d}", patient=f"p{i // cases_per_patient:03d}", labels={task.name: label}
        )
        for i, label in enumerate(labels)
    ]
    return CaseTable(records=tuple(records))


def test_the_first_task_of_exclusive_classes_is_stratified_by():
    assert stratifying_task((SIZE, FINDINGS, GRADE, TASK)) is GRADE
    assert stratifying_task((SIZE, FINDINGS)) is SIZE
    assert stratifying_task(()) is None


@pytest.mark.parametrize("cases_per_patient", [1, 2])
def test_every_finding_is_spread_and_so_are_cases_without_any(cases_per_patient):
    """B02, B04: 20 cyst, 10 mass, 10 both, 20 none: each fold of 5 holds 6, 4 and 4."""
    labels = ["cyst"] * 20 + ["mass"] * 10 + ["cyst|mass"] * 10 + ["none"] * 20
    table = labelled(FINDINGS, labels, cases_per_patient=cases_per_patient)
    folds = split(table, task=FINDINGS)
    assert_partition(table, folds)
    for fold in folds:
        held = [FINDINGS.named(table.record(c).labels["findings"]) for c in fold.val]
        counts = [sum(name in names for names in held) for name in ("cyst", "mass")]
        counts.append(sum(not names for names in held))
        assert all(abs(n - wanted) <= 1 for n, wanted in zip(counts, (6, 4, 4), strict=True))


def test_values_are_spread_by_quartile():
    """B02: sorted values cut into folds would give one fold the small and one the large."""
    table = labelled(SIZE, [str(value) for value in range(40)])
    for fold in split(table, task=SIZE):
        quarters = Counter(int(float(table.record(c).labels["size"]) // 10) for c in fold.val)
        assert quarters == {0: 2, 1: 2, 2: 2, 3: 2}


def test_a_finding_of_fewer_patients_than_folds_is_refused_by_name():
    table = labelled(FINDINGS, ["cyst"] * 10 + ["mass"] * 2)
    with pytest.raises(DataError, match=r"class 'mass': found 2 cases of 2 patients"):
        split(table, task=FINDINGS)
