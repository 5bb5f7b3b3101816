"""B16: risk against coverage, by hand and by its definition."""

import numpy as np
import pytest

from segduet.evaluation.calibration_risk import abstention_curve, aurc, risk_coverage_curve

CONFIDENCE = np.array([0.6, 0.9, 0.8, 0.7])
IS_WRONG = np.array([True, False, True, False])


def test_curve_by_hand() -> None:
    assert risk_coverage_curve(CONFIDENCE, IS_WRONG) == [
        {"coverage": 0.25, "risk": 0.0, "least_confidence": 0.9},
        {"coverage": 0.5, "risk": 0.5, "least_confidence": 0.8},
        {"coverage": 0.75, "risk": pytest.approx(1 / 3), "least_confidence": 0.7},
        {"coverage": 1.0, "risk": 0.5, "least_confidence": 0.6},
    ]


def test_area_by_hand() -> None:
    assert aurc(CONFIDENCE, IS_WRONG) == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 2) / 4)


def test_cases_of_equal_confidence_are_answered_together() -> None:
    same = np.full(4, 0.7)
    assert aurc(same, IS_WRONG) == 0.5
    assert len(risk_coverage_curve(same, IS_WRONG)) == 1


def test_a_case_that_counts_twice_is_two_cases() -> None:
    twice = aurc(CONFIDENCE, IS_WRONG, weights=np.array([1, 2, 0, 1]))
    again = aurc(np.array([0.6, 0.9, 0.9, 0.7]), np.array([True, False, False, False]))
    assert twice == pytest.approx(again)
    rows = np.array([[1, 1, 1, 1], [1, 2, 0, 1]])
    np.testing.assert_allclose(
        aurc(CONFIDENCE, IS_WRONG, weights=rows), [aurc(CONFIDENCE, IS_WRONG), twice]
    )


def test_the_best_order_has_the_smallest_area_and_right_answers_none() -> None:
    rng = np.random.default_rng(0)
    wrong = rng.random(200) < 0.3
    best = aurc(np.where(wrong, 0.0, 1.0) + rng.random(200) / 10, wrong)
    assert best < aurc(rng.random(200), wrong) < aurc(np.where(wrong, 1.0, 0.0), wrong)
    assert aurc(rng.random(200), np.zeros(200, bool)) == 0


def test_a_long_curve_is_thinned_and_ends_at_everything() -> None:
    rng = np.random.default_rng(1)
    content = abstention_curve(
        rng.random(300), rng.random(300) < 0.2, tuple(map(str, range(300))), seed=0
    )
    coverage = [point["coverage"] for point in content["curve"]]
    assert len(coverage) == 20
    assert coverage == sorted(coverage)
    assert coverage[-1] == 1
    assert content["aurc"]["ci95"][0] < content["aurc"]["value"] < content["aurc"]["ci95"][1]
