"""What is reached without a network's case-level answer: the bar it must clear.

N training cases, M test cases, R regions, K classes or findings, T numbers of a target.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from segduet.core.errors import DataError
from segduet.core.tasks import TaskSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """Answers of something simpler, scored exactly as the model's.

    Attributes:
        name: key in `summary.json`, such as `majority_class`.
        description: one sentence: fitted on what, fed with what.
        task: name of the task.
        probabilities: case -> (answer_size,) float64.
    """

    name: str
    description: str
    task: str
    probabilities: Mapping[str, np.ndarray]


@dataclass(frozen=True, slots=True, kw_only=True)
class FittingCases:
    """What baselines learn from: the training cases whose answer is known.

    Attributes:
        targets: (N, T), see `core.answers.encode_target`; none is NaN.
        volumes_ml: (N, R) volumes in the reference masks, >= 0.
    """

    targets: np.ndarray
    volumes_ml: np.ndarray


def task_baselines(
    task: TaskSpec,
    fitting: FittingCases,
    cases: Sequence[str],
    volumes_ml: np.ndarray | None,
) -> list[Baseline]:
    """The baselines of a task's kind: one that looks at nothing, one that knows only sizes.

    Args:
        task: the question.
        fitting: training cases.
        cases: M case ids to answer.
        volumes_ml: (M, R) volumes in their predicted masks, >= 0; None where no masks are scored,
            which leaves the first baseline alone.

    Raises:
        DataError: the training cases have fewer than two different answers.
    """
    answered = [_constant_answers(task, fitting.targets, len(cases))]
    if volumes_ml is not None:
        answered.append(_answers_by_volume(task, fitting, volumes_ml))
    return [
        Baseline(
            name=name,
            description=f"{text}, fitted on {len(fitting.targets)} training cases",
            task=task.name,
            probabilities=dict(zip(cases, answers, strict=True)),
        )
        for name, text, answers in answered
    ]


def _constant_answers(
    task: TaskSpec, targets: np.ndarray, num_cases: int
) -> tuple[str, str, np.ndarray]:
    """Name, description and answers of the baseline that looks at nothing."""
    match task.kind:
        case "regression":
            values = median_value(targets[:, 0], num_cases=num_cases)
            return "median_value", "Always the median value", values
        case "multilabel":
            rates = finding_rates(targets, num_cases=num_cases)
            return "finding_rates", "Every finding as often as in training", rates
        case "binary" | "multiclass" | "ordinal":
            shares = majority_class(
                targets[:, 0].astype(np.int64),
                num_classes=len(task.classes),
                num_cases=num_cases,
            )
            if task.kind == "ordinal":
                return "median_class", "Always the median class", shares
            return "majority_class", "Always the most frequent class", shares


def _answers_by_volume(
    task: TaskSpec, fitting: FittingCases, volumes_ml: np.ndarray
) -> tuple[str, str, np.ndarray]:
    """Name, description and answers of the baseline that knows only sizes."""
    name, targets = "mask_volume", fitting.targets
    on_volumes = "on region volumes (predicted masks)"
    match task.kind:
        case "regression":
            values = value_by_volume(fitting.volumes_ml, targets[:, 0], volumes_ml)
            return name, f"Ridge regression {on_volumes}", values
        case "multilabel":
            findings = findings_by_volume(fitting.volumes_ml, targets, volumes_ml)
            return name, f"Logistic regression {on_volumes}", findings
        case "binary" | "multiclass" | "ordinal":
            classes = mask_volume(
                fitting.volumes_ml,
                targets[:, 0].astype(np.int64),
                volumes_ml,
                num_classes=len(task.classes),
            )
            return name, f"Logistic regression {on_volumes}", classes


def majority_class(train_classes: np.ndarray, *, num_classes: int, num_cases: int) -> np.ndarray:
    """The class frequencies of the training set for every case: (num_cases, K) float64.

    Its answer is the most frequent class, the first of equals; for an ordinal task the median.

    Args:
        train_classes: (N,) integer class indices of the training cases.
        num_classes: K.
        num_cases: cases to answer.

    Raises:
        DataError: no training case.
    """
    classes = _checked(train_classes, minimum=1).astype(np.int64)
    counts = np.bincount(classes, minlength=num_classes)
    return np.tile(counts / counts.sum(), (num_cases, 1))


def mask_volume(
    train_volumes_ml: np.ndarray,
    train_classes: np.ndarray,
    test_volumes_ml: np.ndarray,
    *,
    num_classes: int,
) -> np.ndarray:
    """Class probabilities from region volumes alone: (M, K) float64.

    Multinomial logistic regression on standardised log(1 + volume), fitted on the reference masks
    of the training cases and fed with the predicted masks of the test cases. A classifier that
    does not beat it has learnt no more than size. A class absent from training gets 0.

    Args:
        train_volumes_ml: (N, R) volumes in the training reference masks, >= 0.
        train_classes: (N,) integer class indices.
        test_volumes_ml: (M, R) volumes in the predicted masks, >= 0.
        num_classes: K.

    Raises:
        DataError: fewer than two classes among the training cases.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    classes = _checked(train_classes, minimum=2).astype(np.int64)
    # lbfgs is deterministic, so there is no seed to give
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    model.fit(np.log1p(train_volumes_ml), classes)
    probabilities = np.zeros((len(test_volumes_ml), num_classes))
    probabilities[:, model.classes_] = model.predict_proba(np.log1p(test_volumes_ml))
    return probabilities


def finding_rates(train_findings: np.ndarray, *, num_cases: int) -> np.ndarray:
    """The share of training cases with each finding, for every case: (num_cases, K) float64.

    Args:
        train_findings: (N, K) 0 or 1.
        num_cases: cases to answer.

    Raises:
        DataError: no training case.
    """
    _checked(train_findings, minimum=1)
    return np.tile(train_findings.mean(0, dtype=np.float64), (num_cases, 1))


def findings_by_volume(
    train_volumes_ml: np.ndarray, train_findings: np.ndarray, test_volumes_ml: np.ndarray
) -> np.ndarray:
    """Probability of each finding from region volumes alone: (M, K) float64.

    One `mask_volume` per finding; one that all or none of the training cases have keeps its rate.

    Args:
        train_volumes_ml: (N, R) volumes in the training reference masks, >= 0.
        train_findings: (N, K) 0 or 1.
        test_volumes_ml: (M, R) volumes in the predicted masks, >= 0.

    Raises:
        DataError: no training case.
    """
    rates = finding_rates(train_findings, num_cases=len(test_volumes_ml))
    for k, held in enumerate(train_findings.T.astype(np.int64)):
        if 0 < held.sum() < len(held):
            chances = mask_volume(train_volumes_ml, held, test_volumes_ml, num_classes=2)
            rates[:, k] = chances[:, 1]
    return rates


def median_value(train_values: np.ndarray, *, num_cases: int) -> np.ndarray:
    """The median of the training set for every case, least in mean error: (num_cases, 1) float64.

    Args:
        train_values: (N,) in the task's unit.
        num_cases: cases to answer.

    Raises:
        DataError: no training case.
    """
    values = _checked(train_values, minimum=1)
    return np.full((num_cases, 1), np.median(values))


def value_by_volume(
    train_volumes_ml: np.ndarray, train_values: np.ndarray, test_volumes_ml: np.ndarray
) -> np.ndarray:
    """Values from region volumes alone: (M, 1) float64, in the task's unit.

    Ridge regression on standardised log(1 + volume), fitted and fed as `mask_volume` is.

    Args:
        train_volumes_ml: (N, R) volumes in the training reference masks, >= 0.
        train_values: (N,) in the task's unit.
        test_volumes_ml: (M, R) volumes in the predicted masks, >= 0.

    Raises:
        DataError: fewer than two different values among the training cases.
    """
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    values = _checked(train_values, minimum=2).astype(np.float64)
    model = make_pipeline(StandardScaler(), Ridge())
    model.fit(np.log1p(train_volumes_ml), values)
    predicted: np.ndarray = model.predict(np.log1p(test_volumes_ml))
    return predicted[:, None]


def _checked(train_answers: np.ndarray, *, minimum: int) -> np.ndarray:
    answers = np.asarray(train_answers)
    found = len(np.unique(answers, axis=0))
    if found < minimum:
        raise DataError(
            "baseline",
            found=f"{found} classes or values among {len(answers)} training cases",
            expected=f"at least {minimum}",
            remedy="Add the answers of the training cases to cases.csv, or leave the baseline out.",
        )
    return answers
