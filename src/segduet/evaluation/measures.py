"""Which figures belong to which kind of task (B02). N cases, K classes or findings."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from segduet.core.answers import decided_class, decided_findings
from segduet.core.tasks import TaskSpec
from segduet.metrics import confusion as of_confusion
from segduet.metrics import findings as of_findings
from segduet.metrics import probability as of_probability
from segduet.metrics import regression as of_regression
from segduet.metrics.declared import CLASSIFICATION_METRICS

Statistic = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """How one figure follows from the cases drawn.

    Attributes:
        statistic: weights (..., N), how often each case counts -> figure (...), NaN if undefined.
        undefined: why the figure is undefined, where it is.
        unit: of the figure, empty for a share or score without one.
        denominators: (K, N) how much each case counts in the denominators of the K shares that the
            figure is the mean of (`share_limits.patients_behind`); None is one share of all cases,
            or no share.
    """

    statistic: Statistic
    undefined: str = "undefined"
    unit: str = ""
    denominators: np.ndarray | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskMeasures:
    """All figures of one task.

    Attributes:
        overall: metric name -> measure.
        f1_by_class: class or finding -> measure.
        auroc_by_class: finding -> measure; empty for other kinds.
        confusion: weights -> (..., K, K) counts; None where classes do not exclude one another.
    """

    overall: Mapping[str, Measure]
    f1_by_class: Mapping[str, Measure]
    auroc_by_class: Mapping[str, Measure]
    confusion: Statistic | None


def task_measures(task: TaskSpec, reference: np.ndarray, answers: np.ndarray) -> TaskMeasures:
    """The figures of a task's kind.

    Args:
        task: the question.
        reference: (N,) int64 class indices, (N, K) bool findings, or (N,) float64 values.
        answers: (N, A) float64, see `answer_probabilities`.
    """
    if task.kind == "regression":
        overall = _of_values(task, reference, answers[:, 0])
        return TaskMeasures(overall=overall, f1_by_class={}, auroc_by_class={}, confusion=None)
    if task.kind == "multilabel":
        return _of_findings(task, reference, answers)
    return _of_classes(task, reference, answers)


def _of_classes(task: TaskSpec, reference: np.ndarray, answers: np.ndarray) -> TaskMeasures:
    chosen = decided_class(task, answers)

    def matrix(weights: np.ndarray) -> np.ndarray:
        return of_confusion.confusion_matrix(
            reference, chosen, num_classes=len(task.classes), weights=weights
        )

    absent = [c for k, c in enumerate(task.classes) if k not in set(reference)]
    undefined = f"classes {absent} do not occur in the reference" if absent else "undefined"
    reasons = {**_UNDEFINED, "positive_likelihood_ratio": undefined if absent else _NO_FALSE_ALARM}
    statistics = {**_of_matrix(matrix), **_of_kind(task, matrix, reference, answers)}
    classes = np.arange(len(task.classes))[:, None]
    is_true, is_said = reference == classes, chosen == classes
    shares = _shares_of_classes(is_true, is_said)
    return TaskMeasures(
        overall={
            name: Measure(
                statistic=statistic,
                undefined=reasons.get(name, undefined),
                unit=CLASSIFICATION_METRICS[name].unit,
                denominators=shares.get(name),
            )
            for name, statistic in statistics.items()
        },
        f1_by_class=_each(
            task.classes,
            lambda w: of_confusion.per_class_f1(matrix(w)),
            undefined=undefined,
            denominators=_of_f1(is_true, is_said),
        ),
        auroc_by_class={},
        confusion=matrix,
    )


def _shares_of_classes(is_true: np.ndarray, is_said: np.ndarray) -> dict[str, np.ndarray]:
    """Metric name -> denominators, of those that are no share of all cases.

    Args:
        is_true: (K, N) bool.
        is_said: (K, N) bool.
    """
    return {
        "macro_f1": _of_f1(is_true, is_said),
        "balanced_accuracy": is_true[is_true.any(1)],
        "sensitivity": is_true[1:],
        "specificity": is_true[:1],
    }


def _of_f1(is_true: np.ndarray, is_said: np.ndarray) -> np.ndarray:
    """Denominators of F1 = TP / (TP + FP / 2 + FN / 2): (K, N) float64.

    0 throughout for a class that no case has: the false alarms say nothing of how well it is found.
    """
    of_class: np.ndarray = (is_true.astype(np.float64) + is_said) / 2
    return of_class * is_true.any(1, keepdims=True)


#: Why a figure has no value where all classes occur.
_UNDEFINED = {
    "quadratic_kappa": "reference and answers are all one and the same class",
    "mcc": "the reference or the answers are all one class",
    "ece_kde": "one case has no others to be held against",
}
_NO_FALSE_ALARM = "no negative case was called positive, so the ratio has no bound"


def _of_matrix(matrix: Statistic) -> dict[str, Statistic]:
    return {
        "macro_f1": lambda w: of_confusion.macro_f1(matrix(w)),
        "balanced_accuracy": lambda w: of_confusion.balanced_accuracy(matrix(w)),
        "accuracy": lambda w: of_confusion.accuracy(matrix(w)),
        "mcc": lambda w: of_confusion.matthews(matrix(w)),
    }


def _of_kind(
    task: TaskSpec, matrix: Statistic, truth: np.ndarray, chances: np.ndarray
) -> dict[str, Statistic]:
    brier = {"brier": lambda w: of_probability.brier(truth, chances, weights=w)}
    if task.kind == "ordinal":
        # its answer is a median, so that confidence of the top class (ECE) says nothing about it
        return {
            "quadratic_kappa": lambda w: of_confusion.quadratic_kappa(matrix(w)),
            "rank_error": lambda w: of_confusion.rank_error(matrix(w)),
            **brier,
        }
    ranking = _of_two(matrix, truth, chances) if task.kind == "binary" else _of_many(truth, chances)
    return {
        "auroc": lambda w: of_probability.auroc(truth, chances, weights=w),
        **ranking,
        **brier,
        "ece": lambda w: of_probability.ece(truth, chances, weights=w),
        "ece_kde": lambda w: of_probability.ece_kde(truth, chances, weights=w),
    }


def _of_two(matrix: Statistic, truth: np.ndarray, chances: np.ndarray) -> dict[str, Statistic]:
    positive, score = truth == 1, chances[:, 1]
    return {
        "average_precision": lambda w: of_probability.average_precision(positive, score, weights=w),
        "sensitivity": lambda w: of_confusion.sensitivity(matrix(w)),
        "specificity": lambda w: of_confusion.specificity(matrix(w)),
        "positive_likelihood_ratio": lambda w: of_confusion.positive_likelihood_ratio(matrix(w)),
    }


def _of_many(truth: np.ndarray, chances: np.ndarray) -> dict[str, Statistic]:
    return {
        "average_precision": lambda w: of_probability.macro_average_precision(
            truth, chances, weights=w
        )
    }


def _of_findings(task: TaskSpec, truth: np.ndarray, chances: np.ndarray) -> TaskMeasures:
    said = decided_findings(chances)

    def each(measure: Callable[..., np.ndarray]) -> Statistic:
        columns = range(len(task.classes))
        return lambda w: np.stack(
            [measure(truth[:, k], chances[:, k], weights=w) for k in columns], axis=-1
        )

    def f1(weights: np.ndarray) -> np.ndarray:
        return of_findings.finding_f1(truth, said, weights=weights)

    auroc, precision = each(of_probability.binary_auroc), each(of_probability.average_precision)
    absent = [n for k, n in enumerate(task.classes) if not truth[:, k].any()]
    unknown = f"findings {absent} are in no case" if absent else "undefined"
    constant = [n for k, n in enumerate(task.classes) if len(set(truth[:, k])) < 2]
    undefined = f"findings {constant} are in no case or in all of them"
    return TaskMeasures(
        overall={
            "macro_f1": Measure(
                statistic=lambda w: f1(w).mean(-1),
                undefined=unknown,
                denominators=_of_f1(truth.T, said.T),
            ),
            "exact_match": Measure(
                statistic=lambda w: of_findings.exact_match(truth, said, weights=w)
            ),
            "auroc": Measure(statistic=lambda w: auroc(w).mean(-1), undefined=undefined),
            "average_precision": Measure(
                statistic=lambda w: precision(w).mean(-1), undefined=undefined
            ),
        },
        f1_by_class=_each(
            task.classes, f1, undefined=unknown, denominators=_of_f1(truth.T, said.T)
        ),
        auroc_by_class=_each(task.classes, auroc, undefined=undefined),
        confusion=None,
    )


def _each(
    names: tuple[str, ...],
    statistic: Statistic,
    *,
    undefined: str = "undefined",
    denominators: np.ndarray | None = None,
) -> dict[str, Measure]:
    """One measure per name from a statistic (..., K) of all of them, with its denominators."""
    return {
        name: Measure(
            statistic=lambda w, k=k: statistic(w)[..., k],  # type: ignore[misc]
            undefined=undefined,
            denominators=None if denominators is None else denominators[k : k + 1],
        )
        for k, name in enumerate(names)
    }


def _of_values(task: TaskSpec, truth: np.ndarray, said: np.ndarray) -> dict[str, Measure]:
    unit = task.unit or ""
    return {
        "mae": Measure(
            statistic=lambda w: of_regression.mean_absolute_error(truth, said, weights=w),
            unit=unit,
        ),
        "rmse": Measure(
            statistic=lambda w: of_regression.root_mean_squared_error(truth, said, weights=w),
            unit=unit,
        ),
        "r2": Measure(
            statistic=lambda w: of_regression.r_squared(truth, said, weights=w),
            undefined="all true values are the same",
        ),
        "spearman": Measure(
            statistic=lambda w: of_regression.spearman(truth, said, weights=w),
            undefined="all true or all predicted values are the same",
        ),
    }
