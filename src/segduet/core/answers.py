"""A task's three languages: cells of tables, targets of losses, and a head's outputs.

N cases, T numbers of a target, A numbers of an answer (see `TaskSpec`). A decided answer is a
cell as the case table would hold it, so that what was said compares with what is true.
"""

import math

import numpy as np

from segduet.core.errors import DataError
from segduet.core.tasks import FINDING_SEPARATOR, NO_FINDING, TaskScale, TaskSpec

_LARGEST = float(np.finfo(np.float32).max)


def encode_target(task: TaskSpec, label: str | None, *, where: str) -> np.ndarray:
    """What a cell of the case table says, in numbers: (T,) float32.

    A class index; 0 or 1 per finding; or the value in the task's unit. NaN where the label is
    unknown (None or empty).

    Raises:
        DataError: a class or finding that was not declared, one named twice, or text that is no
            finite number where one is wanted.
    """
    if not label:
        return missing_target(task)
    match task.kind:
        case "binary" | "multiclass" | "ordinal":
            numbers = [float(task.index(label, where=where))]
        case "multilabel":
            numbers = _held_findings(task, label, where=where)
        case "regression":
            numbers = [parse_value(task, label, where=where)]
    return np.array(numbers, dtype=np.float32)


def missing_target(task: TaskSpec) -> np.ndarray:
    """The target of a case nobody knows the answer for: (T,) float32, all NaN."""
    return np.full(task.num_targets, np.nan, dtype=np.float32)


def parse_value(task: TaskSpec, label: str, *, where: str) -> float:
    """A cell of a regression as a number, in full precision.

    Raises:
        DataError: text, NaN, or a number float32 cannot hold.
    """
    try:
        number = float(label)
    except ValueError:
        number = math.nan
    if not abs(number) <= _LARGEST:
        raise DataError(
            where,
            found=f"{label!r} for {task.name!r}",
            expected="a finite number with a decimal point, or an empty cell where it is unknown",
            remedy="Correct the case table.",
        )
    return number


def fitted_task(task: TaskSpec, targets: np.ndarray, *, where: str) -> TaskSpec:
    """The task as its model's header keeps it: a regression with the training cases' scale.

    Mean and standard deviation (n - 1) of the known values; other kinds are returned as they are.

    Args:
        task: the question as the dataset declares it.
        targets: (N, T) of the training cases, NaN where unknown; never of validation cases.
        where: what the targets belong to, for the message.

    Raises:
        DataError: a regression without two different known values.
    """
    if task.kind != "regression":
        return task
    known = targets[~np.isnan(targets)].astype(np.float64)
    if known.size < 2 or np.ptp(known) == 0:
        raise DataError(
            f"{where}, task {task.name!r}",
            found=f"{known.size} known values, {len(np.unique(known))} different",
            expected="at least two different values to learn from",
            remedy="Fill the column for more training cases, or take the task out.",
        )
    scale = TaskScale(mean=float(known.mean()), sd=float(known.std(ddof=1)))
    return task.model_copy(update={"scale": scale})


def answer_probabilities(task: TaskSpec, logits: np.ndarray) -> np.ndarray:
    """The answer in a head's outputs: probabilities, or a regression's value in its unit.

    Softmax over the classes; for a binary task the sigmoid and its rest; a sigmoid per finding.
    An ordinal head's outputs say how likely the case lies above each class; where a step
    contradicts the one before it, it is lowered to it, so that no probability is negative. Safe
    for large logits. Averages of answers (windows, mirrors, folds) are answers.

    Args:
        task: the question; its kind decides how outputs are read. A regression has its scale.
        logits: (..., num_outputs), any float dtype.

    Returns:
        (..., answer_size) float64; sums to 1 along the last axis where classes are exclusive.

    Source: Frank and Hall (2001), doi:10.1007/3-540-44795-4_13; Cao et al. (2020),
        arXiv:1901.07884, whose shared weights would make the steps consistent in training.
    """
    assert logits.shape[-1] == task.num_outputs, (task.name, logits.shape)
    outputs = logits.astype(np.float64)
    match task.kind:
        case "multiclass":
            return _softmax(outputs)
        case "binary":
            return np.concatenate([_sigmoid(-outputs), _sigmoid(outputs)], axis=-1)
        case "multilabel":
            return _sigmoid(outputs)
        case "ordinal":
            return _between_steps(np.minimum.accumulate(_sigmoid(outputs), axis=-1))
        case "regression":
            assert task.scale is not None, f"{task.name}: not fitted"
            return np.asarray(outputs * task.scale.sd + task.scale.mean)


def decided_class(task: TaskSpec, answers: np.ndarray) -> np.ndarray:
    """Index of the class an answer decides for: (..., A) -> (...) int64.

    The most probable class, the first of equals. For an ordinal task the median instead: the first
    class up to which half of the probability lies, the answer of least expected error in ranks.
    """
    assert task.has_exclusive_classes, task.name
    if task.kind == "ordinal":
        below_half = np.cumsum(answers, axis=-1) < 0.5
        return np.asarray(np.minimum(below_half.sum(-1), len(task.classes) - 1))
    return np.asarray(answers.argmax(-1))


def decided_findings(answers: np.ndarray) -> np.ndarray:
    """Which findings a multilabel answer says there are: above one half; bool, same shape."""
    return np.asarray(answers > 0.5)


def decide(task: TaskSpec, answer: np.ndarray) -> str:
    """The answer as a cell of the case table: class name, findings such as `a|b`, or number.

    Args:
        task: the question.
        answer: (A,), as from `answer_probabilities`.
    """
    match task.kind:
        case "binary" | "multiclass" | "ordinal":
            return task.classes[int(decided_class(task, answer))]
        case "multilabel":
            held = decided_findings(answer)
            names = (name for name, holds in zip(task.classes, held, strict=True) if holds)
            return FINDING_SEPARATOR.join(names) or NO_FINDING
        case "regression":
            return repr(float(answer[0]))


def _held_findings(task: TaskSpec, label: str, *, where: str) -> list[float]:
    names = task.named(label)
    if len(set(names)) != len(names):
        raise DataError(
            where,
            found=f"findings {label!r} for {task.name!r}, one of them twice",
            expected=f"each finding once, such as {FINDING_SEPARATOR.join(task.classes[:2])!r}",
            remedy="Correct the case table.",
        )
    held = {task.index(name, where=where) for name in names}
    return [float(k in held) for k in range(len(task.classes))]


def _softmax(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities: np.ndarray = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return probabilities


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    small = np.exp(-np.abs(logits))  # never overflows
    return np.asarray(np.where(logits >= 0, 1.0, small) / (1.0 + small))


def _between_steps(above: np.ndarray) -> np.ndarray:
    """P(above class k), falling (..., K - 1) -> P(class k) (..., K)."""
    ends = (*above.shape[:-1], 1)
    framed = np.concatenate([np.ones(ends), above, np.zeros(ends)], axis=-1)
    return np.asarray(framed[..., :-1] - framed[..., 1:])
