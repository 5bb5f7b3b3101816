"""B06: several images of one patient, one answer."""

import itertools

import numpy as np
import pytest

from segduet.evaluation.patients import (
    evidence_weighted_answer,
    mean_answer,
    order_statistics,
    patients_with_fewer_images,
)

IMAGES = np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.25, 0.25, 0.5]])


def test_the_mean_is_the_mean_and_evidence_weighs() -> None:
    """Evidence 3 : 1 : 0, hand-worked: (2.1 + 0.1) / 4, (0.6 + 0.6) / 4, (0.3 + 0.3) / 4."""
    assert mean_answer(IMAGES) == pytest.approx([0.35, 0.35, 0.3])
    weighted = evidence_weighted_answer(IMAGES, np.array([300.0, 100.0, 0.0]))
    assert weighted == pytest.approx([0.55, 0.3, 0.15])


def test_where_no_image_has_evidence_all_count_alike() -> None:
    assert np.array_equal(evidence_weighted_answer(IMAGES, np.zeros(3)), mean_answer(IMAGES))


def test_no_rule_depends_on_the_order_of_images() -> None:
    """To the last bit."""
    evidence = np.array([0.1, 0.7, 1e-9])
    names = ("a", "b", "c")
    for order in map(list, itertools.permutations(range(3))):
        assert np.array_equal(mean_answer(IMAGES[order]), mean_answer(IMAGES))
        weighted = evidence_weighted_answer(IMAGES[order], evidence[order])
        assert np.array_equal(weighted, evidence_weighted_answer(IMAGES, evidence))
        assert order_statistics(names, IMAGES[order]) == order_statistics(names, IMAGES)


def test_order_statistics_are_smallest_mean_and_largest() -> None:
    found = order_statistics(("a", "b"), np.array([[1.0, np.nan], [4.0, np.nan], [1.0, np.nan]]))
    assert [found[f"{s}.a"].value for s in ("min", "mean", "max")] == [1.0, 2.0, 4.0]
    assert {found[f"{s}.b"].reason for s in ("min", "mean", "max")} == {"undefined in every image"}


def test_a_patient_with_one_image_has_the_same_statistics_by_name() -> None:
    single = order_statistics(("a",), np.array([[3.0]]))
    assert {name: s.value for name, s in single.items()} == {"min.a": 3, "mean.a": 3, "max.a": 3}


def test_patients_with_fewer_images_than_most_are_named() -> None:
    images = {"p1": ["a", "b"], "p2": ["c"], "p3": ["d", "e"], "p4": ["f", "g", "h"]}
    assert patients_with_fewer_images(images) == {"p2": 1}
    assert patients_with_fewer_images({"p1": ["a"], "p2": ["b"]}) == {}
    assert patients_with_fewer_images({}) == {}
