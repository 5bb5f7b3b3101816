"""How near predicted numbers are to the true ones. N cases, numbers in the task's unit.

Leading axes (...) of `weights` are resamples, as in `confusion.py`.
"""

import numpy as np

from segduet.metrics.confusion import ratio
from segduet.metrics.resamples import case_weights
from segduet.metrics.steps import Steps, below

#: A spread below this share of the squares is rounding: all values are the same.
_NO_SPREAD = 1e-12


def mean_absolute_error(
    reference: np.ndarray, predicted: np.ndarray, *, weights: np.ndarray | None = None
) -> np.ndarray:
    """Mean distance in the task's unit: (...) float64 >= 0; NaN without cases.

    Args:
        reference: (N,) float64.
        predicted: (N,) float64.
        weights: (..., N) how often each case counts; None counts each once.
    """
    counted = case_weights(reference, weights)
    return ratio(counted @ np.abs(predicted - reference), counted.sum(-1))


def root_mean_squared_error(
    reference: np.ndarray, predicted: np.ndarray, *, weights: np.ndarray | None = None
) -> np.ndarray:
    """Root of the mean squared distance, in the task's unit: (...) >= 0; NaN without cases.

    Args:
        reference: (N,) float64.
        predicted: (N,) float64.
        weights: (..., N) how often each case counts; None counts each once.
    """
    counted = case_weights(reference, weights)
    return np.asarray(np.sqrt(ratio(counted @ (predicted - reference) ** 2, counted.sum(-1))))


def r_squared(
    reference: np.ndarray, predicted: np.ndarray, *, weights: np.ndarray | None = None
) -> np.ndarray:
    """Share of the true values' variance that is explained: (...) at most 1, negative if worse.

    0 is what answering the mean of these very cases would reach. Equals scikit-learn's `r2_score`
    (`force_finite=False`). NaN where all true values are the same, and without cases.

    Args:
        reference: (N,) float64.
        predicted: (N,) float64.
        weights: (..., N) how often each case counts; None counts each once.
    """
    counted = case_weights(reference, weights)
    centred = reference - (reference.mean() if reference.size else 0.0)
    squares, total = counted @ centred**2, counted.sum(-1)
    spread = squares - ratio((counted @ centred) ** 2, total)  # NaN without cases, so no spread
    spread = np.where(spread > _NO_SPREAD * squares, spread, 0.0)
    return np.asarray(1 - ratio(counted @ (predicted - reference) ** 2, spread))


def spearman(
    reference: np.ndarray, predicted: np.ndarray, *, weights: np.ndarray | None = None
) -> np.ndarray:
    """Correlation of the ranks: (...) float64 in [-1, 1]; equal values share their mean rank.

    Equals scipy's `spearmanr`. NaN where all true or all predicted values are the same, and without
    cases.

    Args:
        reference: (N,) float64.
        predicted: (N,) float64.
        weights: (..., N) how often each case counts; None counts each once.

    Source: Spearman (1904), doi:10.2307/1412159.
    """
    counted = case_weights(reference, weights)
    first, second = _mean_ranks(reference, counted), _mean_ranks(predicted, counted)
    number = counted.sum(-1)

    def co_spread(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        # ranks are halves of integers, so that these sums are exact and equal ranks give 0
        both = (counted * a * b).sum(-1)
        return np.asarray(number * both - (counted * a).sum(-1) * (counted * b).sum(-1))

    spread = np.sqrt(co_spread(first, first) * co_spread(second, second))
    return ratio(co_spread(first, second), spread)


def _mean_ranks(values: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Rank of each case among the drawn ones, from 0.5 on, mean over equals: (..., N)."""
    steps = Steps.of(values)
    sizes = steps.sums(counted)
    return steps.of_cases(below(sizes) + sizes / 2)
