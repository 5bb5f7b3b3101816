"""95 % intervals over patients: how far a figure could move with other patients (B19).

N cases, G patients, R resamples. Which interval belongs to which figure was chosen by its coverage
in simulated cohorts of 36, 72 and 200 cases (`benchmarks/interval_coverage.py`): percentiles, and
BCa limits at their nominal levels, are too short where patients are few or have several cases.
"""

from collections.abc import Callable, Sequence
from typing import Literal, assert_never

import numpy as np
from scipy import special

from segduet.core.scores import Estimate
from segduet.evaluation.resampling import (
    NUM_RESAMPLES,
    patient_groups,
    patient_weights,
    resample_weights,
)
from segduet.evaluation.share_limits import is_boundary, patients_behind, score_limits

#: Above this share of resamples without a value the rest is no sample of the sampling distribution.
MAX_UNDEFINED_SHARE = 0.05
_Z95 = 1.959964
#: Resamples that differ by no more are the same figure, summed in another order.
_ROUNDING = 1e-12
_ONE_PATIENT = "one patient has no interval"
_NOTHING_VARIES = "the same in every resample, so resampling shows no uncertainty"
#: Keeps logarithms and BCa's division finite.
_TINY = 1e-9

#: `score`: of a share between 0 and 1; `logit`: of a ranking (AUROC), which is near 1 where it is
#: good; `t`: of a difference; `percentile`: of anything else.
IntervalKind = Literal["score", "logit", "t", "percentile"]

#: What `summary.json` says of its intervals.
INTERVAL_TEXT = (
    f"95 %, bootstrap over patients, {NUM_RESAMPLES} resamples, widened for few patients: BCa for "
    "means, score interval with the effective number of cases for shares and F1 (of patients where "
    "all or nothing is right), logit for AUROC and average precision, percentile for others"
)


def mean_estimate(
    values: Sequence[float],
    patients: Sequence[str],
    *,
    seed: int,
    num_resamples: int = NUM_RESAMPLES,
) -> Estimate:
    """Mean over cases with its BCa bootstrap interval, resampling patients with all their cases.

    The levels of the limits are widened as Student's t would for G patients, without which the
    interval is too short. No values: undefined. One patient, or all values equal: the mean without
    an interval, since resampling what does not vary would claim certainty.

    Args:
        values: one finite number per case.
        patients: patient of each case.
        seed: of the resampling.
        num_resamples: bootstrap samples.

    Source: Efron (1987), doi:10.1080/01621459.1987.10478410; Davison and Hinkley (1997), 3.8, for
        whole clusters; Hesterberg (2015), doi:10.1080/00031305.2015.1089789, for the widening,
        which he gives for percentiles; for BCa it is our choice.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.size == 0:
        return Estimate(value=None, ci95=None, n=0, reason="no case has a value")
    mean, reason = float(numbers.mean()), _why_no_interval(numbers, patients)
    if reason:
        return Estimate(value=mean, ci95=None, n=numbers.size, reason=reason)
    group = patient_groups(patients)
    sums, counts = np.bincount(group, weights=numbers), np.bincount(group).astype(np.float64)
    weights = patient_weights(len(counts), seed=seed, num_resamples=num_resamples)
    resampled = (weights @ sums) / (weights @ counts)
    if np.ptp(resampled) <= _ROUNDING:
        return Estimate(value=mean, ci95=None, n=numbers.size, reason=_NOTHING_VARIES)
    without = (sums.sum() - sums) / (counts.sum() - counts)
    levels = _bca_levels(resampled, mean, without)
    low, high = np.quantile(resampled, levels)
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
    kind: IntervalKind = "percentile",
    denominators: np.ndarray | None = None,
    num_resamples: int = NUM_RESAMPLES,
) -> Estimate:
    """Any figure of a cohort with its interval, all cases of a patient drawn together.

    Args:
        statistic: weights (..., N), how often each case counts -> figure (...), NaN if undefined.
        patients: patient of each case.
        seed: of the resampling.
        undefined: the reason to give when the figure itself is NaN, or a share of it of nobody.
        kind: how the limits follow from the resamples.
        denominators: (K, N) of a `score`, see `patients_behind`; None is one share of all cases.
        num_resamples: bootstrap samples.

    Resamples without a figure (a class did not get in) are left out; beyond
    `MAX_UNDEFINED_SHARE` of them, and where all agree, there is no interval. A `score` of 0 or 1
    has one nevertheless, from the number of patients behind it. A mean of shares has none where
    one of them is of nobody: an absent class pulls macro-F1 down whatever the model does.

    Source: `score`: `score_limits`, with the sample size that a share of this standard error would
        have (Korn and Graubard 1998, Survey Methodology 24:193); for means of shares such as
        macro-F1, and at 0 and 1, it is our choice. `logit`: Qin and Hotilovac (2008),
        doi:10.1177/0962280207087173. `percentile`: Hesterberg (2015), see `mean_estimate`.
    """
    n = len(patients)
    if n == 0:
        return Estimate(value=None, ci95=None, n=0, reason="no case has a known answer")
    value = float(statistic(np.ones(n)))
    if np.isnan(value):
        return Estimate(value=None, ci95=None, n=n, reason=undefined)
    num_patients = len(set(patients))
    if num_patients < 2:
        return Estimate(value=value, ci95=None, n=n, reason=_ONE_PATIENT)
    resampled = statistic(resample_weights(patients, seed=seed, num_resamples=num_resamples))
    defined = resampled[~np.isnan(resampled)]
    shares = np.ones((1, n)) if denominators is None else denominators
    behind = patients_behind(shares, patients) if kind == "score" else np.inf
    is_all_or_nothing = kind == "score" and is_boundary(value)
    reason = undefined
    if behind > 0:
        reason = _why_unusable(defined, resampled.size, behind, is_all_or_nothing=is_all_or_nothing)
    if reason:
        return Estimate(value=value, ci95=None, n=n, reason=reason)
    if is_all_or_nothing:
        # one less, as where resamples tell: there the variance is multiplied by G / (G - 1)
        limits = score_limits(value, effective=behind - 1, t=_t_quantile(num_patients))
    else:
        limits = _limits(value, defined, num_patients, kind)
    return Estimate(value=value, ci95=limits, n=n)


def selection_inflation(estimate: Estimate, *, selected_from: int) -> float:
    """By how much the best of several candidates is expected to look better than it is.

    The expected largest of `selected_from` standard normal numbers times the standard error
    (a quarter of the interval's width, 3.92 standard errors). Exact if all candidates are equally
    good, their errors normal and independent; an upper bound if errors are correlated, as those of
    models judged on the same cases are (Slepian 1962, doi:10.1002/j.1538-7305.1962.tb02419.x), or
    if some candidates are worse. 0 for one candidate or without an interval.

    Source: Jones (1948), doi:10.1093/biomet/35.1-2.113 (expected order statistics).
    """
    if selected_from < 2 or estimate.ci95 is None:
        return 0.0
    from scipy import integrate  # takes long to import, and is asked for rarely

    standard_error = (estimate.ci95[1] - estimate.ci95[0]) / (2 * _Z95)

    def density(x: float) -> float:
        below = float(special.ndtr(x)) ** (selected_from - 1)
        return x * selected_from * below * float(np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi))

    expected_maximum, _ = integrate.quad(density, -8.0, 8.0)
    return float(expected_maximum) * standard_error


def _t_quantile(num_patients: int) -> float:
    """97.5 % of Student's t with G - 1 degrees of freedom."""
    return float(special.stdtrit(num_patients - 1, 0.975))


def _widened_z(num_patients: int) -> float:
    """What replaces 1.96 so that normal resamples would give Student's interval."""
    return float(np.sqrt(num_patients / (num_patients - 1))) * _t_quantile(num_patients)


def _bca_levels(resampled: np.ndarray, value: float, without: np.ndarray) -> np.ndarray:
    """Levels of the two limits among the resamples.

    Args:
        resampled: (R,) the figure of each resample.
        value: the figure itself.
        without: (G,) the figure without each patient.
    """
    # half of those that equal it, which sums in another order only nearly do
    smaller = (resampled < value - _ROUNDING).mean() + (resampled <= value + _ROUNDING).mean()
    rarest = 0.5 / resampled.size
    bias = special.ndtri(np.clip(smaller / 2, rarest, 1 - rarest))
    influence = without.mean() - without
    acceleration = (influence**3).sum() / (6 * (influence**2).sum() ** 1.5)
    shifted = bias + _widened_z(without.size) * np.array([-1.0, 1.0])
    levels: np.ndarray = special.ndtr(
        bias + shifted / np.maximum(1 - acceleration * shifted, _TINY)
    )
    return levels


def _limits(
    value: float, resampled: np.ndarray, num_patients: int, kind: IntervalKind
) -> tuple[float, float]:
    if kind == "percentile":
        level = special.ndtr(-_widened_z(num_patients))
        low, high = np.quantile(resampled, [level, 1 - level])
        return float(low), float(high)
    error = float(resampled.std()) * np.sqrt(num_patients / (num_patients - 1))
    t = _t_quantile(num_patients)
    match kind:
        case "t":
            return float(value - t * error), float(value + t * error)
        case "score":
            return score_limits(value, effective=value * (1 - value) / error**2, t=t)
        case "logit":
            return _logit_limits(value, error, t)
        case _:
            assert_never(kind)


def _logit_limits(value: float, error: float, t: float) -> tuple[float, float]:
    inside = float(np.clip(value, _TINY, 1 - _TINY))
    middle = np.log(inside / (1 - inside))
    half = t * error / (inside * (1 - inside))
    low, high = 1 / (1 + np.exp(-np.clip(np.array([middle - half, middle + half]), -500, 500)))
    return float(low), float(high)


def _why_no_interval(values: np.ndarray, patients: Sequence[str]) -> str:
    assert len(patients) == values.size
    if len(set(patients)) < 2:
        return _ONE_PATIENT
    if np.ptp(values) == 0:
        return f"all {values.size} values are equal, so resampling shows no uncertainty"
    return ""


def _why_unusable(
    defined: np.ndarray, num_resamples: int, behind: float, *, is_all_or_nothing: bool
) -> str:
    missing = 1 - defined.size / num_resamples
    if missing > MAX_UNDEFINED_SHARE:
        return f"undefined in {missing:.0%} of the resamples: too few cases of a class or value"
    if is_all_or_nothing:
        return "" if behind > 1 else "it rests on one patient"
    return _NOTHING_VARIES if np.ptp(defined) <= _ROUNDING else ""
