"""B02: figures of several findings at once."""

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from segduet.metrics.findings import exact_match, finding_f1

TRUTH = np.array([[1, 0], [1, 1], [0, 0], [0, 1]], dtype=bool)
ANSWER = np.array([[1, 0], [0, 1], [0, 0], [1, 1]], dtype=bool)


def test_hand_worked_findings():
    """First: 1 hit, 1 missed, 1 too many; second: both hit. Cases 1 and 3 are right as a whole."""
    assert finding_f1(TRUTH, ANSWER).tolist() == [0.5, 1.0]
    assert float(exact_match(TRUTH, ANSWER)) == 0.5


def test_a_finding_nobody_has_or_answers_scores_0():
    absent = np.zeros((3, 1), dtype=bool)
    assert finding_f1(absent, absent).tolist() == [0.0]


def test_without_cases_nothing_is_defined():
    none = np.zeros((0, 2), dtype=bool)
    assert np.isnan(finding_f1(none, none)).all()
    assert np.isnan(exact_match(none, none))


def test_equal_to_scikit_learn_with_repeats():
    rng = np.random.default_rng(0)
    truth, answer = rng.random((2, 30, 3)) > 0.6
    weights = rng.integers(0, 3, (5, 30))
    scores, matches = (f(truth, answer, weights=weights) for f in (finding_f1, exact_match))
    for counts, f1, match in zip(weights, scores, matches, strict=True):
        repeated = np.repeat(truth, counts, axis=0), np.repeat(answer, counts, axis=0)
        wanted = sklearn_metrics.f1_score(*repeated, average="macro", zero_division=0)
        assert f1.mean() == pytest.approx(wanted, abs=1e-12)
        assert match == pytest.approx(sklearn_metrics.accuracy_score(*repeated), abs=1e-12)


def test_one_case_is_a_case():
    assert finding_f1(TRUTH[1:2], ANSWER[1:2]).tolist() == [0.0, 1.0]
