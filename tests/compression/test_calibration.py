"""F68: calibration windows are typical, half of them on foreground; they follow from the seed."""

from collections import Counter

import numpy as np
import pytest

from segduet.compression.calibration import (
    CalibrationCase,
    CalibrationSettings,
    calibration_windows,
    choose_cases,
)
from segduet.core.cases import CaseRecord, CaseTable
from segduet.core.errors import RequestError
from segduet.core.tasks import TaskSpec

_TASK = TaskSpec(name="kind", classes=("a", "b"))
_PATCH = (4, 8, 8)


def _case(name="c", shape=(12, 40, 40), voxel=(10, 3, 37)):
    image = np.zeros((1, *shape), dtype=np.float32)
    image[(0, *voxel)] = 1
    locations = np.array([voxel], dtype=np.int32)
    return CalibrationCase(case=name, image=image, locations={"lesion": locations})


def _windows(cases, **settings):
    return list(
        calibration_windows(cases, patch_zyx=_PATCH, settings=CalibrationSettings(**settings))
    )


def test_every_second_window_holds_foreground():
    windows = _windows([_case(f"c{i}") for i in range(5)], windows_per_case=4)

    held = [window.image.max() == 1 for window in windows]
    assert len(windows) == 20
    assert all(held[1::2])
    assert sum(held[::2]) < 5  # the voxel is in 1 of some 40 windows
    assert {window.image.shape for window in windows} == {(1, *_PATCH)}


def test_one_window_per_case_is_on_foreground_in_every_second_case():
    windows = _windows([_case(f"c{i}") for i in range(10)], windows_per_case=1)

    assert all(window.image.max() == 1 for window in windows[1::2])
    assert sum(window.image.max() == 1 for window in windows[::2]) < 3


def test_a_case_without_a_mask_gives_windows_anywhere():
    bare = CalibrationCase(case="c", image=_case().image, locations={})

    assert len(_windows([bare], windows_per_case=6)) == 6


def test_shares_are_one_in_the_image_and_zero_in_its_padding():
    small = CalibrationCase(case="c", image=np.ones((1, 2, 8, 8), dtype=np.float32), locations={})

    for window in _windows([small]):
        np.testing.assert_array_equal(window.shares, window.image)
        assert window.shares.sum() == 2 * 8 * 8


def test_windows_follow_from_the_seed():
    def arrays(seed):
        return [w.image.tobytes() for w in _windows([_noise()], seed=seed, windows_per_case=8)]

    def _noise():
        image = np.random.default_rng(0).normal(size=(1, 12, 40, 40)).astype(np.float32)
        return CalibrationCase(case="c", image=image, locations={})

    assert arrays(3) == arrays(3)
    assert arrays(3) != arrays(4)


def _table(labels, patients=None):
    records = [
        CaseRecord(
            case=f"c{i:02}",
            patient=patients[i] if patients else f"p{i}",
            labels={"kind": label} if label != "?" else {},
        )
        for i, label in enumerate(labels)
    ]
    return CaseTable(records=tuple(records))


def _choose(table, val=(), **settings):
    train = [case for case in table.cases if case not in val]
    return choose_cases(
        table, _TASK, train=train, val=val, settings=CalibrationSettings(**settings)
    )


def test_classes_are_in_proportion():
    """Of 30 a and 10 b, 8 cases are 6 a and 2 b."""
    table = _table("a" * 30 + "b" * 10)

    for seed in range(5):
        chosen = _choose(table, num_cases=8, seed=seed).calibration
        assert Counter(table.record(c).labels["kind"] for c in chosen) == {"a": 6, "b": 2}


def test_held_cases_are_the_validation_fold():
    table = _table("ab" * 6)
    val = table.cases[8:]

    choice = _choose(table, val, num_cases=100)

    assert choice.held == val
    assert sorted(choice.calibration) == sorted(table.cases[:8])


def test_without_a_fold_at_least_half_the_cases_are_held():
    choice = _choose(_table("ab?" * 3), num_cases=100)

    assert len(choice.calibration) == 4
    assert len(choice.held) == 5
    assert not set(choice.calibration) & set(choice.held)


def test_no_patient_is_on_both_sides():
    table = _table("abab", patients=["p", "p", "q", "r"])

    for seed in range(8):
        choice = _choose(table, num_cases=1, seed=seed)
        sides = [{table.record(c).patient for c in s} for s in (choice.calibration, choice.held)]
        assert not sides[0] & sides[1]


def test_the_choice_follows_from_the_seed_not_from_the_order():
    table = _table("ab" * 10)
    choices = [
        choose_cases(
            table, _TASK, train=cases, val=(), settings=CalibrationSettings(num_cases=4, seed=1)
        )
        for cases in (table.cases, table.cases[::-1])
    ]

    assert choices[0] == choices[1]
    assert _choose(table, num_cases=4, seed=2) != choices[0]


@pytest.mark.parametrize(("labels", "patients"), [("a", None), ("ab", ["p", "p"])])
def test_too_few_patients_are_refused(labels, patients):
    with pytest.raises(RequestError, match="Bring images of more patients"):
        _choose(_table(labels, patients))


def test_settings_out_of_range_are_refused():
    with pytest.raises(RequestError, match="expected at least one of each"):
        CalibrationSettings(windows_per_case=0)
