"""From a head's outputs to the answer to a case-level question."""

import numpy as np

from segduet.core.tasks import TaskSpec


def answer_probabilities(task: TaskSpec, logits: np.ndarray) -> np.ndarray:
    """Probabilities of a task's classes; safe for large logits.

    Args:
        task: the question; its kind decides how logits are read.
        logits: (..., num_outputs), any float dtype.

    Returns:
        (..., num_classes) float64, sums to 1 along the last axis.
    """
    assert logits.shape[-1] == task.num_outputs, (task.name, logits.shape)
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    exponentials = np.exp(shifted)
    probabilities: np.ndarray = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return probabilities
