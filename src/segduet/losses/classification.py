"""Cross entropy of a case-level task. B batch, K classes."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from segduet.core.errors import DataError
from segduet.core.tasks import TaskSpec
from segduet.losses.config import ClassificationLossConfig

MISSING = -1  # class index of a case whose class nobody knows


def inverse_frequency_weights(
    counts: Sequence[int], *, added_cases: float = 0.0, where: str = "training cases"
) -> tuple[float, ...]:
    """Class weights N / (K * n_i), whose mean over the counted cases is 1 (F31).

    Args:
        counts: training cases of every class; never of the validation cases.
        added_cases: >= 0, pretended cases added to every class.
        where: what was counted, for the message.

    Raises:
        DataError: a class without a case, which would weigh infinitely much.
    """
    padded = [count + added_cases for count in counts]
    if min(padded) <= 0:
        raise DataError(
            where,
            found=f"class counts {list(counts)}",
            expected="at least one training case of every class",
            remedy="Add such cases, take the class out of the task, or set added_cases > 0.",
        )
    return tuple(sum(padded) / (len(padded) * count) for count in padded)


class ClassificationLoss(nn.Module):
    """Cross entropy, weighted by class and by how much each window can tell about its case.

    The weighted terms are divided by the sum of the weights of the batch, so that a balancer's
    factor means the same whatever the batch holds.
    """

    class_weights: Tensor

    def __init__(self, class_weights: Sequence[float], *, label_smoothing: float = 0.0) -> None:
        """Builds the loss.

        Args:
            class_weights: one positive weight per class.
            label_smoothing: in [0, 1), share of the target spread evenly over the classes.
        """
        super().__init__()
        weights = torch.tensor(class_weights, dtype=torch.float32)
        self.register_buffer("class_weights", weights, persistent=False)
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, classes: Tensor, evidence: Tensor | None = None) -> Tensor:
        """The loss of a batch.

        Args:
            logits: (B, K), any float dtype; computed in float32.
            classes: (B,) integer class index, -1 where it is unknown.
            evidence: (B,) float in [0, 1], weight of each window; None means 1.

        Returns:
            Scalar float32, >= 0. Windows of unknown class or weight 0 get a gradient of exactly
            0; where all are so, the loss is 0.
        """
        known = classes != MISSING
        index = torch.where(known, classes, 0).long()
        terms = functional.cross_entropy(
            logits.float(), index, reduction="none", label_smoothing=self.label_smoothing
        )
        weights = self.class_weights[index] * known
        if evidence is not None:
            weights = weights * evidence.float()
        total = weights.sum()
        return (weights * terms).sum() / torch.where(total > 0, total, 1)


def build_classification_loss(
    task: TaskSpec, counts: Sequence[int], config: ClassificationLossConfig
) -> ClassificationLoss:
    """The loss of a task, its class weights taken from the counts of the training cases.

    Raises:
        DataError: a class of the task without a training case (with inverse frequencies).
    """
    assert len(counts) == len(task.classes)
    if config.class_weights == "equal":
        weights: tuple[float, ...] = (1.0,) * len(counts)
    else:
        weights = inverse_frequency_weights(
            counts, added_cases=config.added_cases, where=f"task {task.name!r}, training cases"
        )
    return ClassificationLoss(weights, label_smoothing=config.label_smoothing)
