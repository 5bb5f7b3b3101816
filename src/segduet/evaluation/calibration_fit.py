"""Fitting temperatures on answers to cases that the network has not seen (B16).

N cases, K classes or findings.
"""

import numpy as np
from scipy import optimize

from segduet.core.errors import DataError
from segduet.core.tasks import TaskSpec
from segduet.evaluation.calibration import FLOOR, num_temperatures, scaled_answers
from segduet.evaluation.classification import TaskAnswers

#: Fewer say too little about one number, and nothing about how well it serves.
MIN_CASES = 20
#: Each class or finding goes into every part of the cross-fitting.
NUM_PARTS = 5
#: Where every case is answered rightly the likeliest temperature is 0: no finite number of cases
#: proves that. Ours are the bounds.
LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE = 0.25, 10.0


def questions(answers: TaskAnswers) -> tuple[TaskAnswers, ...]:
    """The questions that have a temperature of their own: the task, or each finding of it.

    A finding becomes a binary task called `<task>:<finding>`.
    """
    task = answers.task
    if task.kind != "multilabel":
        return (answers,)
    chances = answers.probabilities
    return tuple(
        TaskAnswers(
            task=TaskSpec(name=f"{task.name}:{name}", kind="binary", classes=("absent", "present")),
            reference=answers.reference[:, k].astype(np.int64),
            probabilities=np.stack([1 - chances[:, k], chances[:, k]], axis=1),
            patients=answers.patients,
        )
        for k, name in enumerate(task.classes)
    )


def require_enough(answers: TaskAnswers, *, where: str) -> None:
    """Checks that there are enough cases to fit on.

    Args:
        answers: with known truth; not of a regression.
        where: what they belong to, for the message.

    Raises:
        DataError: fewer than `MIN_CASES` cases, or a class, finding or its absence in fewer than
            `NUM_PARTS` patients.
    """
    if len(answers.patients) < MIN_CASES:
        raise DataError(
            f"{where}, task {answers.task.name!r}",
            found=f"{len(answers.patients)} cases with a known answer",
            expected=f"at least {MIN_CASES} that the network has not seen",
            remedy="Name more folds, or leave the task out with --task.",
        )
    for question in questions(answers):
        for k, name in enumerate(question.task.classes):
            holds = question.reference == k
            patients = {p for p, held in zip(question.patients, holds, strict=True) if held}
            if len(patients) < NUM_PARTS:
                raise DataError(
                    f"{where}, task {question.task.name!r}",
                    found=f"{len(patients)} patients with class {name!r}",
                    expected=f"at least {NUM_PARTS} of every class",
                    remedy="Name more folds, or leave the task out with --task.",
                )


def fit_temperatures(answers: TaskAnswers) -> np.ndarray:
    """Temperatures of the least negative log likelihood: (num_temperatures,) float64.

    Within `LOWEST_TEMPERATURE` and `HIGHEST_TEMPERATURE`.

    Args:
        answers: to cases that the network has not seen.
    """
    return np.array([_fit(question) for question in questions(answers)])


def cross_fitted(answers: TaskAnswers, parts: np.ndarray) -> np.ndarray:
    """Every answer scaled by temperatures that were fitted without its part: (N, A) float64.

    Args:
        answers: to cases that the network has not seen.
        parts: (N,) part of each case; the cases of a patient in one part.
    """
    scaled = np.empty_like(answers.probabilities)
    for part in np.unique(parts):
        inside = parts == part
        temperatures = fit_temperatures(chosen_answers(answers, ~inside))
        scaled[inside] = scaled_answers(answers.task, answers.probabilities[inside], temperatures)
    return scaled


def chosen_answers(answers: TaskAnswers, chosen: np.ndarray) -> TaskAnswers:
    """The answers to some of the cases.

    Args:
        answers: to all.
        chosen: (N,) bool.
    """
    return TaskAnswers(
        task=answers.task,
        reference=answers.reference[chosen],
        probabilities=answers.probabilities[chosen],
        patients=tuple(p for p, held in zip(answers.patients, chosen, strict=True) if held),
    )


def negative_log_likelihoods(reference: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """How surprised an answer is by the truth: (N,) float64 >= 0, at most 27.6.

    Args:
        reference: (N,) integer class indices in [0, K).
        probabilities: (N, K) float64.
    """
    of_truth = np.take_along_axis(probabilities, reference[:, None], axis=1)[:, 0]
    return np.asarray(-np.log(np.maximum(of_truth, FLOOR)))


def _fit(question: TaskAnswers) -> float:
    assert num_temperatures(question.task) == 1, question.task.name

    def loss(log_temperature: float) -> float:
        temperature = np.exp(np.array([log_temperature]))
        scaled = scaled_answers(question.task, question.probabilities, temperature)
        return float(negative_log_likelihoods(question.reference, scaled).mean())

    bounds = (np.log(LOWEST_TEMPERATURE), np.log(HIGHEST_TEMPERATURE))
    found = optimize.minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-5})
    return float(np.exp(found.x))
