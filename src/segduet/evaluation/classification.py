"""The block of figures for one task of any kind: every metric with its interval."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from segduet.core.answers import (
    decided_class,
    decided_findings,
    encode_target,
    parse_value,
)
from segduet.core.scores import CaseScores, Estimate
from segduet.core.tasks import TaskSpec
from segduet.evaluation.intervals import IntervalKind, statistic_estimate
from segduet.evaluation.measures import Measure, task_measures

#: Intervals of figures that are shares or mean shares, and of rankings; others have percentiles.
_INTERVALS: Mapping[str, IntervalKind] = {
    "macro_f1": "score",
    "balanced_accuracy": "score",
    "accuracy": "score",
    "sensitivity": "score",
    "specificity": "score",
    "exact_match": "score",
    "auroc": "logit",
    "average_precision": "logit",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskAnswers:
    """Answers of the cases whose truth is known, as arrays.

    Attributes:
        task: the question.
        reference: (N,) int64 class indices; (N, K) bool for findings; (N,) float64 for values.
        probabilities: (N, answer_size) float64.
        patients: patient of each case.
    """

    task: TaskSpec
    reference: np.ndarray
    probabilities: np.ndarray
    patients: tuple[str, ...]

    @property
    def predicted(self) -> np.ndarray:
        """What was decided, in the form of `reference`."""
        if self.task.kind == "regression":
            return self.probabilities[:, 0]
        if self.task.kind == "multilabel":
            return decided_findings(self.probabilities)
        return decided_class(self.task, self.probabilities)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFigures:
    """Figures of one task over a cohort.

    Attributes:
        classes: class names, in the order of the matrix; none for a regression.
        metrics: metric name -> estimate.
        units: metric name -> unit, of those that have one.
        f1_by_class: class or finding -> estimate.
        auroc_by_class: finding -> estimate; empty for other kinds.
        confusion: (K, K) counts, rows are the reference; empty where classes do not exclude one
            another.
        p_chance: metric name -> p against chance (`evaluation.chance`), where it was tested.
    """

    classes: tuple[str, ...]
    metrics: Mapping[str, Estimate]
    units: Mapping[str, str] = field(default_factory=dict)
    f1_by_class: Mapping[str, Estimate] = field(default_factory=dict)
    auroc_by_class: Mapping[str, Estimate] = field(default_factory=dict)
    confusion: tuple[tuple[int, ...], ...] = ()
    p_chance: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """`{METRIC: {value, ci95, n}}` and, where the kind has them, figures by class.

        Beside the metrics stand `f1_by_class`, `auroc_by_class` (findings) and `confusion_matrix`
        (exclusive classes). A metric with a unit names it under `unit`, one that was tested has
        `p_chance`.
        """
        content: dict[str, Any] = {
            name: estimate_json(e) | self._remarks(name) for name, e in self.metrics.items()
        }
        for key, figures in (
            ("f1_by_class", self.f1_by_class),
            ("auroc_by_class", self.auroc_by_class),
        ):
            if figures:
                content[key] = {name: estimate_json(e) for name, e in figures.items()}
        if self.confusion:
            content["confusion_matrix"] = {
                "classes": list(self.classes),
                "rows": "reference",
                "columns": "predicted",
                "counts": [list(row) for row in self.confusion],
            }
        return content

    def _remarks(self, metric: str) -> dict[str, Any]:
        remarks = {"unit": self.units, "p_chance": self.p_chance}
        return {key: found[metric] for key, found in remarks.items() if metric in found}


def interval_kind(metric: str) -> IntervalKind:
    """Which interval one run's figure has: by its coverage in simulated cohorts."""
    return _INTERVALS.get(metric, "percentile")


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
    """Stacks the answers of the cases whose truth is known; others are left out.

    Args:
        cases: scored cases.
        task: the question.
        probabilities: case -> (answer_size,) answers of something else, such as a baseline; None
            takes the model's.
    """
    known = [c for c in cases if task.name in c.answers and c.answers[task.name].reference]
    rows = [
        c.answers[task.name].probabilities if probabilities is None else probabilities[c.case]
        for c in known
    ]
    truth = [_truth(task, str(c.answers[task.name].reference), where=c.case) for c in known]
    return TaskAnswers(
        task=task,
        reference=_stacked(task, truth),
        probabilities=np.asarray(rows, dtype=np.float64).reshape(len(known), task.answer_size),
        patients=tuple(c.patient for c in known),
    )


def task_figures(answers: TaskAnswers, *, seed: int) -> TaskFigures:
    """Every metric of the task's kind with its interval; undefined ones say why.

    Args:
        answers: what is true and what was answered.
        seed: of the resampling; the same draws serve every metric.
    """
    measures = task_measures(answers.task, answers.reference, answers.probabilities)

    def estimates(
        wanted: Mapping[str, Measure], by_class: IntervalKind | None = None
    ) -> dict[str, Estimate]:
        return {
            name: statistic_estimate(
                m.statistic,
                answers.patients,
                seed=seed,
                undefined=m.undefined,
                kind=by_class or interval_kind(name),
                denominators=m.denominators,
            )
            for name, m in wanted.items()
        }

    counts: list[list[int]] = []
    if measures.confusion:
        counts = measures.confusion(np.ones(len(answers.patients))).astype(int).tolist()
    return TaskFigures(
        classes=answers.task.classes,
        metrics=estimates(measures.overall),
        units={name: m.unit for name, m in measures.overall.items() if m.unit},
        f1_by_class=estimates(measures.f1_by_class, "score"),
        auroc_by_class=estimates(measures.auroc_by_class, "logit"),
        confusion=tuple(tuple(row) for row in counts),
    )


def _truth(task: TaskSpec, label: str, *, where: str) -> np.ndarray:
    if task.kind == "regression":  # in full precision, which targets of a network do not need
        return np.array([parse_value(task, label, where=where)])
    return encode_target(task, label, where=where)


def _stacked(task: TaskSpec, rows: Sequence[np.ndarray]) -> np.ndarray:
    numbers = np.asarray(rows, dtype=np.float64).reshape(len(rows), task.num_targets)
    if task.kind == "multilabel":
        return numbers > 0
    return numbers[:, 0].astype(np.int64) if task.has_exclusive_classes else numbers[:, 0]
