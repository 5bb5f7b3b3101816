"""Temperature scaling: the same answers, with probabilities that can be taken at their word (B16).

N cases, A numbers of an answer. This part runs in `predict`, with numpy alone; fitting is in
`calibration_fit.py`.
"""

import numpy as np

from segduet.core.answers import answer_probabilities
from segduet.core.tasks import TaskSpec

#: What a probability of 0 is taken for; it has no logarithm.
FLOOR = 1e-12


def num_temperatures(task: TaskSpec) -> int:
    """How many temperatures scale an answer: one; one per finding; none for a regression."""
    if task.kind == "regression":
        return 0
    return len(task.classes) if task.kind == "multilabel" else 1


def scaled_answers(task: TaskSpec, answers: np.ndarray, temperatures: np.ndarray) -> np.ndarray:
    """Answers whose logits are divided by temperatures: (..., A) float64, as they came in.

    Above 1 a temperature makes answers less certain, below 1 more. What is decided (the most
    probable class, the median of an ordinal answer, the findings above one half) stays the same.
    An ordinal answer is scaled step by step: the odds of lying above each class.

    The logits are won back from the probabilities, since an average over windows, mirrors or
    folds has no others; for a single softmax they are its own but for a constant.

    Args:
        task: the question, not a regression.
        answers: (..., A) float64, as from `answer_probabilities`.
        temperatures: (num_temperatures,) float64, > 0.

    Source: Guo et al. (2017), arXiv:1706.04599, equation 9; ordinal steps and findings are scaled
        as the sigmoids they come from.
    """
    assert temperatures.shape == (num_temperatures(task),), (task.name, temperatures.shape)
    return answer_probabilities(task, _logits(task, answers) / temperatures)


def _logits(task: TaskSpec, answers: np.ndarray) -> np.ndarray:
    """Outputs of a head that would give these answers: (..., num_outputs)."""
    match task.kind:
        case "multiclass":
            return _log(answers)
        case "binary":
            return np.asarray(_log(answers[..., 1:]) - _log(answers[..., :1]))
        case "multilabel":
            return np.asarray(_log(answers) - _log(1 - answers))
        case "ordinal":
            up_to = np.cumsum(answers, axis=-1)[..., :-1]
            above = np.cumsum(answers[..., ::-1], axis=-1)[..., -2::-1]
            return np.asarray(_log(above) - _log(up_to))
        case "regression":
            raise AssertionError(f"{task.name}: a regression has no probabilities")


def _log(probabilities: np.ndarray) -> np.ndarray:
    return np.asarray(np.log(np.maximum(probabilities, FLOOR)))
