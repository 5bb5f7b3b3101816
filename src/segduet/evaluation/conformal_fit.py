"""Thresholds of conformal sets, from answers to cases that the network has not seen (B16).

N cases, K classes. Own code, since MAPIE's Mondrian groups are functions of the image and know no
classes of the truth, and since the rule is one order statistic.
"""

import math

import numpy as np

from segduet.evaluation.classification import TaskAnswers

#: (n + 1) (1 - alpha) of whole numbers may miss them by a rounding error.
_ROUNDING = 1e-9


def fewest_patients(alpha: float) -> int:
    """Patients of a class without which its promise cannot be kept by excluding it.

    9 for alpha 0.1, 19 for 0.05.

    Args:
        alpha: share of a class's patients whose set may lack it, in (0, 1).
    """
    return math.ceil(1 / alpha - 1 - _ROUNDING)


def least_probabilities(answers: TaskAnswers, alpha: float) -> tuple[float | None, ...]:
    """The probability from which each class belongs to a set; None where it always does.

    For each class: of the n patients who have it, the ceil((n + 1) (1 - alpha))-th largest
    probability that was given to it. The set of a further patient of this class then holds the
    class with a chance of at least 1 - alpha, if that patient comes from where these came from.
    A patient with several cases of the class counts once, with the case of the lowest
    probability: the promise then holds for all cases of the patient together.

    Args:
        answers: to cases the network has not seen; classes exclude one another.
        alpha: share of a class's patients whose set may lack it, in (0, 1).

    Returns:
        One per class; None where it has fewer than `fewest_patients`.

    Source: Vovk (2013), doi:10.1007/s10994-013-5355-6 (label-conditional, proposition 3); Sadinle
        et al. (2019), arXiv:1609.00451 (the score 1 - probability). The worst case of a patient
        is our choice: patients are exchangeable where their cases are not.
    """
    assert answers.task.has_exclusive_classes, answers.task.name
    return tuple(
        _threshold(lowest_of_patients(answers, k), alpha) for k in range(len(answers.task.classes))
    )


def lowest_of_patients(answers: TaskAnswers, k: int) -> np.ndarray:
    """Lowest probability of class k over the cases of each patient that have it: (n,) float64."""
    lowest: dict[str, float] = {}
    for truth, chances, patient in zip(
        answers.reference, answers.probabilities, answers.patients, strict=True
    ):
        if truth == k:
            lowest[patient] = min(float(chances[k]), lowest.get(patient, math.inf))
    return np.array(list(lowest.values()), dtype=np.float64)


def _threshold(lowest: np.ndarray, alpha: float) -> float | None:
    rank = math.ceil((lowest.size + 1) * (1 - alpha) - _ROUNDING)
    if rank > lowest.size:
        return None
    return float(np.sort(lowest)[lowest.size - rank])
