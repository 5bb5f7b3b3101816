"""B02: figures of numbers, against hand-worked values, scikit-learn and scipy."""

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sklearn_metrics

from segduet.metrics.regression import (
    mean_absolute_error,
    r_squared,
    root_mean_squared_error,
    spearman,
)

TRUTH = np.array([1.0, 2.0, 3.0, 6.0])
ANSWER = np.array([2.0, 2.0, 1.0, 8.0])


def test_hand_worked_errors():
    """Errors 1, 0, -2, 2; spread of the truth 4 + 1 + 0 + 9."""
    assert float(mean_absolute_error(TRUTH, ANSWER)) == pytest.approx(5 / 4)
    assert float(root_mean_squared_error(TRUTH, ANSWER)) == pytest.approx(1.5)
    assert float(r_squared(TRUTH, ANSWER)) == pytest.approx(1 - 9 / 14)


def test_hand_worked_rank_correlation():
    """Ranks 1 2 3 4 and 2.5 2.5 1 4: sums of products 1.5, of squares 5 and 4.5."""
    assert float(spearman(TRUTH, ANSWER)) == pytest.approx(1.5 / np.sqrt(5 * 4.5))


def test_only_the_order_counts_for_ranks():
    assert float(spearman(TRUTH, np.exp(TRUTH))) == pytest.approx(1.0)
    assert float(spearman(TRUTH, -TRUTH)) == pytest.approx(-1.0)


def test_answering_the_mean_explains_nothing():
    assert float(r_squared(TRUTH, np.full(4, 3.0))) == pytest.approx(0.0)


def test_values_that_do_not_vary_have_no_correlation_and_no_variance_to_explain():
    constant = np.full(4, 0.1)
    assert np.isnan(r_squared(constant, ANSWER))
    assert np.isnan(spearman(constant, ANSWER))
    assert np.isnan(spearman(TRUTH, constant))


def test_a_resample_of_one_case_only_has_no_variance():
    """Also where rounding would leave a trace of it."""
    weights = np.array([[0, 0, 3, 0], [0, 5, 0, 0]])
    assert np.isnan(r_squared(TRUTH / 7, ANSWER, weights=weights)).all()
    assert np.isnan(spearman(TRUTH / 7, ANSWER, weights=weights)).all()


@pytest.mark.parametrize("seed", range(3))
def test_equal_to_scikit_learn_and_scipy_with_repeats(seed):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 12, 30).astype(float)  # with ties
    answer = np.round(truth + rng.normal(0, 4, 30), 0)
    weights = rng.integers(0, 3, (4, 30))
    metrics = (mean_absolute_error, root_mean_squared_error, r_squared, spearman)
    found = np.array([metric(truth, answer, weights=weights) for metric in metrics])
    for counts, values in zip(weights, found.T, strict=True):
        repeated = np.repeat(truth, counts), np.repeat(answer, counts)
        wanted = [
            sklearn_metrics.mean_absolute_error(*repeated),
            sklearn_metrics.root_mean_squared_error(*repeated),
            sklearn_metrics.r2_score(*repeated),
            stats.spearmanr(*repeated).statistic,
        ]
        assert values == pytest.approx(wanted, abs=1e-10)


def test_a_large_offset_does_not_drown_what_is_explained():
    """Years, Hounsfield units, grams: 1e7 more on both sides changes no error."""
    wanted = float(r_squared(TRUTH, ANSWER))
    assert float(r_squared(TRUTH + 1e7, ANSWER + 1e7)) == pytest.approx(wanted, rel=1e-9)
