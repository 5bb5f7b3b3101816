"""F85: arms that answer differently are told apart from arms that do not."""

from typing import Any

import numpy as np
import pytest

from segduet.evaluation.output_agreement import (
    Agreement,
    CaseAnswers,
    OutputVerdict,
    compare_case,
    summarise_agreement,
)


def mask(*labels: int, size: int = 20_000) -> np.ndarray:
    """Zeros, the first voxels of which have these labels."""
    flat = np.zeros(size, dtype=np.uint8)
    flat[: len(labels)] = labels
    return flat.reshape(1, 100, -1)


def answers(label_map: np.ndarray | None, kind: str = "", **numbers: float) -> CaseAnswers:
    classes = {"kind": kind} if kind else {}
    return CaseAnswers(label_map=label_map, classes=classes, numbers=numbers)


def agreement(*pairs: tuple[CaseAnswers, CaseAnswers], **options: Any) -> Agreement:
    cases = [compare_case(f"c{i}", a, b) for i, (a, b) in enumerate(pairs)]
    return summarise_agreement(cases, seed=0, **{"classes_compared": False, **options})


def test_the_same_answers_are_identical() -> None:
    same = answers(mask(1, 1, 2), "a", chance=0.75)
    found = agreement((same, same), (same, same), classes_compared=True)
    assert found.verdict is OutputVerdict.IDENTICAL
    assert found.worst_equal_share == 1.0
    assert (found.num_class_flips, found.largest_number_difference) == (0, 0.0)
    assert {label: one.worst_dsc for label, one in found.labels.items()} == {1: 1.0, 2: 1.0}


def test_one_voxel_in_twenty_thousand_is_within_tolerance_and_three_are_not() -> None:
    """By hand: 1/20000 is 0.005 %, 3/20000 is 0.015 %, and 0.01 % is allowed."""
    base = answers(mask(1, 1, 1, 1))
    near = agreement((base, answers(mask(1, 1, 1))))
    far = agreement((base, base), (base, answers(mask(1))))
    assert near.verdict is OutputVerdict.EQUAL
    assert near.worst_equal_share == pytest.approx(1 - 1 / 20_000)
    assert far.verdict is OutputVerdict.DIFFERENT
    assert far.worst_equal_share == pytest.approx(1 - 3 / 20_000)


def test_dice_is_between_the_arms_per_label() -> None:
    """By hand: label 1 shares 2 of 3 and 2 voxels, 2*2/5; label 2 is in one arm only, 0."""
    found = agreement((answers(mask(1, 1, 1)), answers(mask(1, 1, 2))))
    assert found.labels[1].worst_dsc == pytest.approx(0.8)
    assert found.labels[2].worst_dsc == 0.0
    assert found.labels[1].worst_case == "c0"


def test_a_class_that_flips_makes_the_outputs_different() -> None:
    first, second = answers(mask(1), "a", chance=0.5001), answers(mask(1), "b", chance=0.4999)
    found = agreement((first, first), (first, second), classes_compared=True)
    assert found.verdict is OutputVerdict.DIFFERENT
    assert (found.num_class_flips, found.flipped) == (1, ("c1",))
    assert found.largest_number_difference == pytest.approx(0.0002)


def test_probabilities_that_move_a_little_are_within_tolerance() -> None:
    found = agreement(
        (answers(None, "a", chance=0.9), answers(None, "a", chance=0.8)), classes_compared=True
    )
    assert found.verdict is OutputVerdict.EQUAL
    assert found.worst_equal_share is None


@pytest.mark.parametrize("other", [mask(1, size=10_000), None])
def test_a_mask_of_another_shape_or_none_shares_nothing(other: np.ndarray | None) -> None:
    found = agreement((answers(mask(1)), answers(other)))
    assert (found.verdict, found.worst_equal_share) == (OutputVerdict.DIFFERENT, 0.0)


def test_a_case_that_one_arm_did_not_answer_makes_them_different() -> None:
    same = answers(mask(1))
    found = agreement((same, same), only_in_one=("c9",))
    assert (found.verdict, found.only_in_one) == (OutputVerdict.DIFFERENT, ("c9",))


def test_arms_with_nothing_in_common_are_not_compared() -> None:
    """A stock model has no classes; a model without masks has no mask."""
    found = agreement((answers(None, "a", chance=0.9), answers(None)))
    assert found.verdict is OutputVerdict.NOT_COMPARED
    assert found.num_class_flips is None
    assert agreement().verdict is OutputVerdict.NOT_COMPARED
