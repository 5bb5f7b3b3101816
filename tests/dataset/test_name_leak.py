"""A class that can be read off the case ids is found, a patient's number is not one (B04)."""

import numpy as np
import pytest

from segduet.core.cases import CaseRecord
from segduet.core.tasks import TaskSpec
from segduet.dataset.name_leak import check_class_in_names, class_in_names

TASK = TaskSpec(name="class", classes=("benign", "malignant"))


def record(case, label, patient=None):
    return CaseRecord(case=case, patient=patient or case, labels={"class": TASK.classes[label]})


@pytest.mark.parametrize(
    ("name", "position", "example"),
    [
        ("{word}_{i:03d}", 0, "benign"),
        ("{i:03d}{word}", 1, "benign"),
        ("quiz_{label}_{i:03d}", 1, "0"),
    ],
)
def test_a_part_that_tells_the_class_is_named(name, position, example):
    cases = [
        record(name.format(word=TASK.classes[i % 2], label=i % 2, i=i), i % 2) for i in range(30)
    ]
    leak = class_in_names(cases, TASK)
    assert leak is not None
    assert (leak.position, leak.example) == (position, example)
    assert (leak.accuracy, leak.chance, leak.num_cases) == (1.0, 0.5, 30)


def test_one_wrong_name_of_thirty_is_still_a_leak():
    cases = [record(f"s{i % 2}_{i:03d}", i % 2 if i else 1) for i in range(30)]
    leak = class_in_names(cases, TASK)
    assert leak is not None
    assert leak.accuracy == pytest.approx(29 / 30)


def test_numbers_in_blocks_by_class_tell_it():
    cases = [record(f"case_{i:03d}", i // 50) for i in range(100)]
    leak = class_in_names(cases, TASK)
    assert leak is not None
    assert leak.position == 1
    # wrong: number 50, and number 0, which has none before it, if the other class is guessed
    assert leak.accuracy == pytest.approx(0.99)


def test_one_patients_numbers_in_a_row_tell_nothing_of_others():
    classes = np.random.default_rng(0).integers(0, 2, 30)
    cases = [record(f"i{n:03d}", classes[n // 4], f"p{n // 4}") for n in range(120)]
    assert class_in_names(cases, TASK) is None


def test_numbers_in_random_order_tell_nothing():
    classes = np.random.default_rng(0).integers(0, 2, 40)
    cases = [record(f"case_{i:03d}", label) for i, label in enumerate(classes)]
    assert class_in_names(cases, TASK) is None


def test_a_patients_own_number_tells_nothing_about_others():
    cases = [record(f"p{i // 2:03d}_{i % 2}", i // 2 % 2, f"p{i // 2}") for i in range(40)]
    assert class_in_names(cases, TASK) is None


def test_a_frequent_class_is_no_leak():
    cases = [record(f"case_{i:03d}", int(i == 7)) for i in range(40)]
    assert class_in_names(cases, TASK) is None


def test_nineteen_cases_are_too_few():
    assert class_in_names([record(f"s{i % 2}_{i:03d}", i % 2) for i in range(19)], TASK) is None


def test_a_readable_class_is_a_note_with_figures():
    cases = [record(f"x{'ab'[i % 2]}_{i:03d}", i % 2) for i in range(30)]
    (finding,) = check_class_in_names(cases, [TASK])
    assert (finding.kind, finding.severity, finding.case) == ("class_in_file_name", "note", "")
    assert finding.message == (
        "Part 1 of the case ids (such as 'xa') tells the class of 'class' in 100% of 30 cases; "
        "the most frequent class is 50%."
    )


def test_a_task_whose_classes_do_not_exclude_one_another_is_not_looked_at():
    several = TaskSpec(name="class", kind="multilabel", classes=TASK.classes)
    assert class_in_names([record(f"s{i % 2}_{i}", i % 2) for i in range(30)], several) is None
