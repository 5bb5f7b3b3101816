"""All that is learned about the answers to one task, and how well it serves cases it has not seen.

N cases, K classes.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from segduet.core.answers import decided_class
from segduet.evaluation.calibration_figures import improvement
from segduet.evaluation.calibration_file import ClassSets, TaskCalibration
from segduet.evaluation.calibration_fit import (
    HIGHEST_TEMPERATURE,
    LOWEST_TEMPERATURE,
    chosen_answers,
    cross_fitted,
    fit_temperatures,
    questions,
)
from segduet.evaluation.calibration_risk import abstention_curve
from segduet.evaluation.classification import TaskAnswers
from segduet.evaluation.conformal import in_set, is_withheld
from segduet.evaluation.conformal_fit import (
    fewest_patients,
    least_probabilities,
    lowest_of_patients,
)
from segduet.evaluation.conformal_scores import JudgedAnswers, set_figures
from segduet.evaluation.consistency import ConsistencyRules

#: Level of the sets where none is asked for.
DEFAULT_ALPHA = 0.1
#: A temperature this near to a bound is the bound.
_AT_BOUND = 1.01


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationSettings:
    """How to learn.

    Attributes:
        alphas: levels of the sets, each in (0, 1); the first is the default of `predict`. None
            takes `DEFAULT_ALPHA`.
        least_confidence: see `TaskCalibration`.
        seed: of the intervals' resampling.
    """

    alphas: tuple[float, ...] | None = None
    least_confidence: float | None = None
    seed: int = 0

    @property
    def levels(self) -> tuple[float, ...]:
        """Levels of the sets."""
        return (DEFAULT_ALPHA,) if self.alphas is None else self.alphas


def calibrate_task(
    answers: TaskAnswers,
    parts: np.ndarray,
    settings: CalibrationSettings,
    consistency: ConsistencyRules | None = None,
) -> TaskCalibration:
    """Learns temperatures and sets from all cases; every figure is cross-fitted.

    Each figure rests on temperatures and thresholds that were learned without the part of the
    case it judges, so that no case is judged by what was learned from itself.

    Args:
        answers: to cases the network has not seen, enough by `require_enough`.
        parts: (N,) part of each case; the cases of a patient in one part.
        settings: how to learn.
        consistency: rules of the task, if any.
    """
    calibrated = cross_fitted(answers, parts)
    temperatures = fit_temperatures(answers)
    is_exclusive = answers.task.has_exclusive_classes
    evidence: dict[str, Any] = {
        "num_cases": len(answers.patients),
        "num_patients": len(set(answers.patients)),
        "num_parts": len(np.unique(parts)),
        "at_bound": _at_bound(temperatures),
        "reliability": _reliability(answers, calibrated, settings.seed),
    }
    if is_exclusive:
        evidence["sets"] = [
            {"alpha": alpha, **_judged(answers, calibrated, parts, alpha, settings)}
            for alpha in settings.levels
        ]
        evidence["abstention"] = abstention_curve(
            calibrated.max(1),
            answers.predicted != answers.reference,
            answers.patients,
            seed=settings.seed,
        )
    return TaskCalibration(
        task=answers.task,
        temperatures=tuple(temperatures.tolist()),
        sets=tuple(class_sets(answers, a) for a in settings.levels) if is_exclusive else (),
        least_confidence=settings.least_confidence if is_exclusive else None,
        consistency=consistency,
        evidence=evidence,
    )


def class_sets(answers: TaskAnswers, alpha: float) -> ClassSets:
    """Thresholds of one level with the reasons where there is none.

    Args:
        answers: to cases the network has not seen.
        alpha: share of a class's patients whose set may lack it.
    """
    least = dict(zip(answers.task.classes, least_probabilities(answers, alpha), strict=True))
    return ClassSets(
        alpha=alpha,
        least_probability=least,
        always_because={
            name: f"{lowest_of_patients(answers, k).size} patients have it, "
            f"{fewest_patients(alpha)} are needed for alpha {alpha:g}"
            for k, name in enumerate(answers.task.classes)
            if least[name] is None
        },
    )


def _judged(
    answers: TaskAnswers,
    calibrated: np.ndarray,
    parts: np.ndarray,
    alpha: float,
    settings: CalibrationSettings,
) -> dict[str, Any]:
    members = np.zeros(answers.probabilities.shape, dtype=bool)
    for part in np.unique(parts):
        inside = parts == part
        least = least_probabilities(chosen_answers(answers, ~inside), alpha)
        members[inside] = in_set(answers.probabilities[inside], least)
    decided = decided_class(answers.task, answers.probabilities)
    judged = JudgedAnswers(
        classes=answers.task.classes,
        reference=answers.reference,
        decided=decided,
        members=members,
        abstains=is_withheld(members, decided, calibrated, settings.least_confidence),
        patients=answers.patients,
    )
    return set_figures(judged, seed=settings.seed)


def _reliability(answers: TaskAnswers, calibrated: np.ndarray, seed: int) -> dict[str, Any]:
    """Figures by question: of the task, or of each finding."""
    after = questions(
        TaskAnswers(
            task=answers.task,
            reference=answers.reference,
            probabilities=calibrated,
            patients=answers.patients,
        )
    )
    return {
        question.task.name: improvement(question, scaled.probabilities, seed=seed)
        for question, scaled in zip(questions(answers), after, strict=True)
    }


def _at_bound(temperatures: np.ndarray) -> bool:
    low, high = LOWEST_TEMPERATURE * _AT_BOUND, HIGHEST_TEMPERATURE / _AT_BOUND
    return bool(any(t <= low or t >= high for t in temperatures))
