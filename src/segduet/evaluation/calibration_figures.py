"""How far probabilities can be taken at their word: log likelihood, Brier score, ECE (B16).

N cases; leading axes (...) of `weights` are resamples.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from segduet.core.scores import Estimate
from segduet.evaluation.calibration_fit import negative_log_likelihoods
from segduet.evaluation.classification import TaskAnswers, estimate_json
from segduet.evaluation.intervals import IntervalKind, statistic_estimate
from segduet.metrics.confusion import ratio
from segduet.metrics.probability import brier, ece

Statistic = Callable[[np.ndarray], np.ndarray]


def reliability(question: TaskAnswers, *, seed: int) -> dict[str, Any]:
    """`{nll, brier, ece}` of the answers to a question, each with n and interval; lower is better.

    An ordinal answer is a median, of which the confidence of the top class (ECE) says nothing, so
    that it has none.

    Args:
        question: as from `calibration_fit.questions`.
        seed: of the resampling.
    """
    figures = _statistics(question, question.probabilities)
    return {
        name: estimate_json(_estimate(figure, question, seed)) for name, figure in figures.items()
    }


def improvement(question: TaskAnswers, calibrated: np.ndarray, *, seed: int) -> dict[str, Any]:
    """The same figures before and after calibration, and their paired difference.

    Args:
        question: the answers before.
        calibrated: (N, K) the answers after, by temperatures that have not seen these cases.
        seed: of the resampling.

    Returns:
        figure name -> `{before, after, difference}`, each with value, interval and n.
    """
    before = _statistics(question, question.probabilities)
    after = _statistics(question, calibrated)
    return {
        name: {
            "before": estimate_json(_estimate(before[name], question, seed)),
            "after": estimate_json(_estimate(after[name], question, seed)),
            "difference": estimate_json(
                _estimate(_difference(after[name], before[name]), question, seed, kind="t")
            ),
        }
        for name in before
    }


def _difference(second: Statistic, first: Statistic) -> Statistic:
    return lambda weights: second(weights) - first(weights)


def _statistics(question: TaskAnswers, probabilities: np.ndarray) -> Mapping[str, Statistic]:
    truth = question.reference
    surprise = negative_log_likelihoods(truth, probabilities)
    figures: dict[str, Statistic] = {
        "nll": lambda w: ratio(w @ surprise, w.sum(-1)),
        "brier": lambda w: brier(truth, probabilities, weights=w),
    }
    if question.task.kind == "ordinal":
        return figures
    return {**figures, "ece": lambda w: ece(truth, probabilities, weights=w)}


def _estimate(
    statistic: Statistic, question: TaskAnswers, seed: int, kind: IntervalKind = "percentile"
) -> Estimate:
    return statistic_estimate(
        statistic, question.patients, seed=seed, undefined="undefined", kind=kind
    )
