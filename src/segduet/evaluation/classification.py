"""The block of figures for one class task: every metric with its interval, matrix with names."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from segduet.core.scores import CaseScores, Estimate
from segduet.core.tasks import TaskSpec
from segduet.evaluation.intervals import statistic_estimate
from segduet.metrics import confusion as of_confusion
from segduet.metrics import probability as of_probability

Statistic = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskAnswers:
    """Answers of the cases whose class is known, as arrays.

    Attributes:
        task: the question.
        reference: (N,) int64 class indices.
        probabilities: (N, K) float64.
        patients: patient of each case.
    """

    task: TaskSpec
    reference: np.ndarray
    probabilities: np.ndarray
    patients: tuple[str, ...]

    @property
    def predicted(self) -> np.ndarray:
        """(N,) index of the most probable class, the first of equals."""
        return np.asarray(self.probabilities.argmax(1))


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFigures:
    """Figures of one task over a cohort.

    Attributes:
        classes: class names, in the order of the matrix.
        metrics: metric name -> estimate.
        f1_by_class: class name -> estimate.
        confusion: (K, K) counts, rows are the reference.
    """

    classes: tuple[str, ...]
    metrics: Mapping[str, Estimate]
    f1_by_class: Mapping[str, Estimate] = field(default_factory=dict)
    confusion: tuple[tuple[int, ...], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """`{METRIC: {value, ci95, n}}` with `f1_by_class` and `confusion_matrix` beside them."""
        return {
            **{name: estimate_json(e) for name, e in self.metrics.items()},
            "f1_by_class": {name: estimate_json(e) for name, e in self.f1_by_class.items()},
            "confusion_matrix": {
                "classes": list(self.classes),
                "rows": "reference",
                "columns": "predicted",
                "counts": [list(row) for row in self.confusion],
            },
        }


def estimate_json(estimate: Estimate) -> dict[str, Any]:
    """`{"value", "ci95", "n"}`, with `reason` where value or interval is null."""
    content: dict[str, Any] = {
        "value": estimate.value,
        "ci95": list(estimate.ci95) if estimate.ci95 else None,
        "n": estimate.n,
    }
    return {**content, "reason": estimate.reason} if estimate.reason else content


def collect_answers(
    cases: Sequence[CaseScores],
    task: TaskSpec,
    probabilities: Mapping[str, np.ndarray] | None = None,
) -> TaskAnswers:
    """Stacks the answers of the cases whose class is known; others are left out.

    Args:
        cases: scored cases.
        task: the question.
        probabilities: case -> (K,) answers of something else, such as a baseline; None takes the
            model's.
    """
    known = [c for c in cases if task.name in c.answers and c.answers[task.name].reference]
    rows = [
        c.answers[task.name].probabilities if probabilities is None else probabilities[c.case]
        for c in known
    ]
    truth = [str(c.answers[task.name].reference) for c in known]
    return TaskAnswers(
        task=task,
        reference=np.array(
            [task.index(t, where=c.case) for t, c in zip(truth, known, strict=True)], dtype=np.int64
        ),
        probabilities=np.asarray(rows, dtype=np.float64).reshape(len(known), len(task.classes)),
        patients=tuple(c.patient for c in known),
    )


def task_figures(answers: TaskAnswers, *, seed: int) -> TaskFigures:
    """Every classification metric with its interval; undefined ones say why.

    Args:
        answers: reference classes and probabilities.
        seed: of the resampling; the same draws serve every metric.
    """
    num_classes = len(answers.task.classes)

    def matrix(weights: np.ndarray) -> np.ndarray:
        return of_confusion.confusion_matrix(
            answers.reference, answers.predicted, num_classes=num_classes, weights=weights
        )

    def estimate(statistic: Statistic) -> Estimate:
        return statistic_estimate(
            statistic, answers.patients, seed=seed, undefined=_absent_classes(answers)
        )

    f1 = {
        name: estimate(lambda w, k=k: of_confusion.per_class_f1(matrix(w))[..., k])  # type: ignore[misc]
        for k, name in enumerate(answers.task.classes)
    }
    counts = matrix(np.ones(len(answers.reference))).astype(int)
    return TaskFigures(
        classes=answers.task.classes,
        metrics={name: estimate(s) for name, s in _statistics(answers, matrix).items()},
        f1_by_class=f1,
        confusion=tuple(tuple(row) for row in counts.tolist()),
    )


def _statistics(answers: TaskAnswers, matrix: Statistic) -> dict[str, Statistic]:
    truth, chances = answers.reference, answers.probabilities
    return {
        "macro_f1": lambda w: of_confusion.macro_f1(matrix(w)),
        "balanced_accuracy": lambda w: of_confusion.balanced_accuracy(matrix(w)),
        "accuracy": lambda w: of_confusion.accuracy(matrix(w)),
        "auroc": lambda w: of_probability.auroc(truth, chances, weights=w),
        "brier": lambda w: of_probability.brier(truth, chances, weights=w),
        "ece": lambda w: of_probability.ece(truth, chances, weights=w),
    }


def _absent_classes(answers: TaskAnswers) -> str:
    names = [c for k, c in enumerate(answers.task.classes) if k not in set(answers.reference)]
    return f"classes {names} do not occur in the reference" if names else "undefined"
