"""95 % bootstrap intervals over patients: how far a figure could move with other patients (B19).

N cases, G patients, R resamples.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import integrate, stats

from segduet.core.scores import Estimate

NUM_RESAMPLES = 5000
#: Above this share of resamples without a value the rest is no sample of the sampling distribution.
MAX_UNDEFINED_SHARE = 0.05
_Z95 = 1.959964


def mean_estimate(
    values: Sequence[float],
    patients: Sequence[str],
    *,
    seed: int,
    num_resamples: int = NUM_RESAMPLES,
) -> Estimate:
    """Mean over cases with its BCa bootstrap interval, resampling patients with all their cases.

    No values: undefined. One patient, or all values equal: the mean without an interval, since
    resampling what does not vary would claim certainty.

    Args:
        values: one finite number per case.
        patients: patient of each case.
        seed: of the resampling.
        num_resamples: bootstrap samples.

    Source: Efron (1987), doi:10.1080/01621459.1987.10478410; Davison and Hinkley (1997), 3.8, for
        whole clusters.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.size == 0:
        return Estimate(value=None, ci95=None, n=0, reason="no case has a value")
    mean, reason = float(numbers.mean()), _why_no_interval(numbers, patients)
    if reason:
        return Estimate(value=mean, ci95=None, n=numbers.size, reason=reason)
    _, group = np.unique(np.asarray(patients), return_inverse=True)
    sums, counts = np.bincount(group, weights=numbers), np.bincount(group).astype(np.float64)
    result = stats.bootstrap(
        (sums, counts),
        _ratio_of_sums,
        paired=True,
        vectorized=True,
        n_resamples=num_resamples,
        batch=1000,
        method="BCa",
        rng=np.random.default_rng(seed),
    )
    low, high = result.confidence_interval
    return Estimate(value=mean, ci95=(float(low), float(high)), n=numbers.size)


def paired_difference(
    first: Sequence[float], second: Sequence[float], patients: Sequence[str], *, seed: int
) -> Estimate:
    """Mean of `second - first` over the same cases, with its interval; 0 inside means no proof.

    Args:
        first: one value per case, such as the baseline's.
        second: the candidate's value of the same cases, in the same order.
        patients: patient of each case.
        seed: of the resampling.
    """
    assert len(first) == len(second) == len(patients)
    difference = np.subtract(np.asarray(second, np.float64), np.asarray(first, np.float64))
    return mean_estimate(difference.tolist(), patients, seed=seed)


def statistic_estimate(
    statistic: Callable[[np.ndarray], np.ndarray],
    patients: Sequence[str],
    *,
    seed: int,
    undefined: str,
) -> Estimate:
    """Any figure of a cohort with its percentile interval, all cases of a patient drawn together.

    Args:
        statistic: weights (..., N), how often each case counts -> figure (...), NaN if undefined.
        patients: patient of each case.
        seed: of the resampling.
        undefined: the reason to give when the figure itself is NaN.

    Resamples without a figure (a class did not get in) are left out; beyond
    `MAX_UNDEFINED_SHARE` of them, and where all agree, there is no interval.
    """
    n = len(patients)
    if n == 0:
        return Estimate(value=None, ci95=None, n=0, reason="no case has a known answer")
    value = float(statistic(np.ones(n)))
    if np.isnan(value):
        return Estimate(value=None, ci95=None, n=n, reason=undefined)
    if len(set(patients)) < 2:
        return Estimate(value=value, ci95=None, n=n, reason="one patient has no interval")
    resampled = statistic(resample_weights(patients, seed=seed))
    defined = resampled[~np.isnan(resampled)]
    reason = _why_unusable(defined, resampled.size)
    if reason:
        return Estimate(value=value, ci95=None, n=n, reason=reason)
    low, high = np.percentile(defined, [2.5, 97.5])
    return Estimate(value=value, ci95=(float(low), float(high)), n=n)


def resample_weights(
    patients: Sequence[str], *, seed: int, num_resamples: int = NUM_RESAMPLES
) -> np.ndarray:
    """How often each case is drawn when G patients are drawn with replacement: (R, N) int64."""
    names, group = np.unique(np.asarray(patients), return_inverse=True)
    chances = np.full(len(names), 1 / len(names))
    draws = np.random.default_rng(seed).multinomial(len(names), chances, size=num_resamples)
    return draws[:, group]


def selection_inflation(estimate: Estimate, *, selected_from: int) -> float:
    """By how much the best of several candidates is expected to look better than it is.

    The expected largest of `selected_from` standard normal numbers times the standard error
    (a quarter of the interval's width, 3.92 standard errors): exact if all candidates are equally
    good and their errors independent, an upper bound if they are correlated. 0 for one candidate
    or without an interval.

    Source: Jones (1948), doi:10.1093/biomet/35.1-2.113 (expected order statistics).
    """
    if selected_from < 2 or estimate.ci95 is None:
        return 0.0
    standard_error = (estimate.ci95[1] - estimate.ci95[0]) / (2 * _Z95)

    def density(x: float) -> float:
        below = float(stats.norm.cdf(x)) ** (selected_from - 1)
        return x * selected_from * below * float(stats.norm.pdf(x))

    expected_maximum, _ = integrate.quad(density, -8.0, 8.0)
    return float(expected_maximum) * standard_error


def _ratio_of_sums(sums: np.ndarray, counts: np.ndarray, axis: int = -1) -> Any:
    return sums.sum(axis=axis) / counts.sum(axis=axis)


def _why_no_interval(values: np.ndarray, patients: Sequence[str]) -> str:
    assert len(patients) == values.size
    if len(set(patients)) < 2:
        return "one patient has no interval"
    if np.ptp(values) == 0:
        return f"all {values.size} values are equal, so resampling shows no uncertainty"
    return ""


def _why_unusable(defined: np.ndarray, num_resamples: int) -> str:
    missing = 1 - defined.size / num_resamples
    if missing > MAX_UNDEFINED_SHARE:
        return f"undefined in {missing:.0%} of the resamples: too few cases of a class or value"
    if np.ptp(defined) == 0:
        return "the same in every resample, so resampling shows no uncertainty"
    return ""
