"""Two commands timed in turn: how many times faster one is, and how sure that is (F85).

n rounds, R resamples. Ratios are baseline / candidate: above 1 the candidate is faster.
"""

import math
from collections.abc import Sequence
from enum import StrEnum

import numpy as np

from segduet.core.scores import Estimate

#: With fewer rounds too many resamples hold one round only, and no interval is to be trusted.
MIN_ROUNDS = 5
NUM_RESAMPLES = 5000
_PERCENTILES = (2.5, 97.5)
#: In logarithms: an interval beyond a factor of 20000 either way says nothing.
_LARGEST_REACH = 10.0


class ArmName(StrEnum):
    """The two sides of a comparison."""

    CANDIDATE = "candidate"
    BASELINE = "baseline"


class Finding(StrEnum):
    """What an interval of a ratio allows to say; a mean alone allows nothing."""

    FASTER = "faster"
    SLOWER = "slower"
    NO_DIFFERENCE_SHOWN = "no difference shown"


def abba_order(num_rounds: int, *, seed: int) -> list[tuple[ArmName, ArmName]]:
    """Which arm goes first in every round: blocks of two rounds, ABBA or BAAB by lot.

    A drift (a machine that warms up) then weighs on both arms alike.

    Args:
        num_rounds: >= 0; an odd number ends with half a block.
        seed: of the lots.
    """
    ahead = (ArmName.CANDIDATE, ArmName.BASELINE)
    behind = (ArmName.BASELINE, ArmName.CANDIDATE)
    lots = np.random.default_rng(seed).integers(0, 2, size=num_rounds // 2 + 1)
    return [behind if (lots[i // 2] + i) % 2 else ahead for i in range(num_rounds)]


def mean_ratio(candidate: Sequence[float], baseline: Sequence[float], *, seed: int) -> Estimate:
    """Geometric mean of the rounds' ratios with a symmetric bootstrap-t interval.

    Of the bootstrap intervals this one keeps its word for ten rounds: simulated, with noise that is
    normal, skewed or has outliers, it covers 93 to 97 % where 95 % are meant (percentiles: 88 %).

    Args:
        candidate: one amount per round, > 0, such as seconds.
        baseline: the baseline's, of the same rounds in the same order.
        seed: of the resampling.

    Returns:
        No value where an amount is not above 0; no interval for fewer than `MIN_ROUNDS` rounds or
        where all ratios are equal, so that nothing is decided then.

    Source: Hall (1988), doi:10.1214/aos/1176350933 (symmetric percentile-t); Efron and Tibshirani
        (1993), An Introduction to the Bootstrap, 12.5.
    """
    logs = _log_ratios(candidate, baseline)
    if isinstance(logs, str):
        return Estimate(value=None, ci95=None, n=len(candidate), reason=logs)
    mean, reason = float(logs.mean()), _why_no_interval(logs)
    reach = 0.0 if reason else _reach(logs, seed)
    if reach > _LARGEST_REACH:
        reason = "one round stands apart from others that are all alike"
    value = float(np.exp(mean))
    if reason:
        return Estimate(value=value, ci95=None, n=logs.size, reason=reason)
    limits = (float(np.exp(mean - reach)), float(np.exp(mean + reach)))
    return Estimate(value=value, ci95=limits, n=logs.size)


def median_ratio(candidate: Sequence[float], baseline: Sequence[float], *, seed: int) -> Estimate:
    """Median of the rounds' ratios with a percentile bootstrap interval; hardly moved by outliers.

    Arguments and gaps as in `mean_ratio`.
    """
    logs = _log_ratios(candidate, baseline)
    if isinstance(logs, str):
        return Estimate(value=None, ci95=None, n=len(candidate), reason=logs)
    return _median(logs, seed=seed, as_ratio=True)


def median_amount(values: Sequence[float], *, seed: int) -> Estimate:
    """Median of one arm's rounds, such as seconds, with a percentile bootstrap interval.

    Args:
        values: one per round; at least one.
        seed: of the resampling.
    """
    return _median(np.asarray(values, dtype=np.float64), seed=seed, as_ratio=False)


def finding(ratio: Estimate) -> Finding:
    """What the interval says: faster or slower only where it leaves 1 out."""
    if ratio.ci95 is None or ratio.ci95[0] <= 1 <= ratio.ci95[1]:
        return Finding.NO_DIFFERENCE_SHOWN
    return Finding.FASTER if ratio.ci95[0] > 1 else Finding.SLOWER


def _reach(logs: np.ndarray, seed: int) -> float:
    """Half the width of the interval; infinite where too many resamples hold equal rounds only."""
    root = math.sqrt(logs.size)
    drawn = _resampled(logs, seed)
    errors = drawn.std(axis=1, ddof=1) / root
    away = np.abs(drawn.mean(axis=1) - logs.mean())
    # rounding leaves equal rounds a spread of 1e-17
    pivots = np.divide(away, errors, out=np.full(away.shape, np.inf), where=errors > 1e-12)
    error = float(logs.std(ddof=1)) / root
    return float(np.percentile(pivots, 95, method="higher")) * error


def _median(values: np.ndarray, *, seed: int, as_ratio: bool) -> Estimate:
    scale = np.exp if as_ratio else np.asarray
    value, reason = float(scale(np.median(values))), _why_no_interval(values)
    if reason:
        return Estimate(value=value, ci95=None, n=values.size, reason=reason)
    medians = np.median(_resampled(values, seed), axis=1)
    low, high = scale(np.percentile(medians, _PERCENTILES))
    return Estimate(value=value, ci95=(float(low), float(high)), n=values.size)


def _log_ratios(candidate: Sequence[float], baseline: Sequence[float]) -> np.ndarray | str:
    """The logarithms, or why there are none."""
    assert len(candidate) == len(baseline) > 0, (candidate, baseline)
    pair = np.asarray([baseline, candidate], dtype=np.float64)
    if pair.min() <= 0:
        return "an amount of 0 has no ratio"
    first, second = np.log(pair)
    return np.asarray(first - second)


def _resampled(values: np.ndarray, seed: int) -> np.ndarray:
    """(R, n): rounds drawn with replacement."""
    chosen = np.random.default_rng(seed).integers(0, values.size, (NUM_RESAMPLES, values.size))
    return np.asarray(values[chosen])


def _why_no_interval(values: np.ndarray) -> str:
    if values.size < MIN_ROUNDS:
        return f"{values.size} rounds are too few for an interval, {MIN_ROUNDS} are needed"
    if np.ptp(values) == 0:
        return "all rounds are equal, so resampling shows no uncertainty"
    return ""
