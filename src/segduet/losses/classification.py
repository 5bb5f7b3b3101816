"""Cross entropy or focal loss of a case-level task. B batch, K classes."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from segduet.core.errors import DataError
from segduet.core.tasks import TaskSpec
from segduet.losses.config import ClassificationLossConfig
from segduet.losses.focal import focal_terms

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
    shares = class_shares(counts, added_cases=added_cases, where=where)
    return tuple(1 / (len(shares) * share) for share in shares)


def class_shares(
    counts: Sequence[int], *, added_cases: float = 0.0, where: str = "training cases"
) -> tuple[float, ...]:
    """Share of every class among the cases whose class is known; sums to 1.

    Args:
        counts: training cases of every class; never of the validation cases.
        added_cases: >= 0, pretended cases added to every class.
        where: what was counted, for the message.

    Raises:
        DataError: no case at all has a class, or a class has no case.
    """
    if not any(counts):
        raise DataError(
            where,
            found="not a single case whose class is known",
            expected="classes to learn from",
            remedy="Fill the task's column in cases.csv, or take the task out of dataset.json.",
        )
    padded = [count + added_cases for count in counts]
    if min(padded) <= 0:
        raise DataError(
            where,
            found=f"class counts {list(counts)}",
            expected="at least one training case of every class",
            remedy="Add such cases, take the class out of the task, or set added_cases > 0.",
        )
    return tuple(count / sum(padded) for count in padded)


class ClassificationLoss(nn.Module):
    """The loss of every window, weighed by class and by how much it can tell about its case.

    The weighted terms are divided by the sum of the weights of the batch, so that a balancer's
    factor means the same whatever the batch holds.
    """

    class_weights: Tensor
    logit_offsets: Tensor

    def __init__(
        self,
        class_weights: Sequence[float],
        *,
        label_smoothing: float = 0.0,
        focal_gamma: float = 0.0,
        logit_offsets: Sequence[float] | None = None,
    ) -> None:
        """Builds the loss.

        Args:
            class_weights: one positive weight per class.
            label_smoothing: in [0, 1), share of the target spread evenly over the classes.
            focal_gamma: >= 0; 0 is cross entropy.
            logit_offsets: added to the logits of each class inside the loss; None adds nothing.
        """
        super().__init__()
        weights = torch.tensor(class_weights, dtype=torch.float32)
        offsets = torch.tensor(logit_offsets or [0.0] * len(weights), dtype=torch.float32)
        self.register_buffer("class_weights", weights, persistent=False)
        self.register_buffer("logit_offsets", offsets, persistent=False)
        self.label_smoothing = label_smoothing
        self.focal_gamma = focal_gamma

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
        surprises_BK = -functional.log_softmax(logits.float() + self.logit_offsets, 1)
        terms = (self._targets(index) * focal_terms(surprises_BK, self.focal_gamma)).sum(1)
        weights = self.class_weights[index] * known
        if evidence is not None:
            weights = weights * evidence.float()
        total = weights.sum()
        return (weights * terms).sum() / torch.where(total > 0, total, 1)

    def _targets(self, index: Tensor) -> Tensor:
        """(B, K) float32, each row sums to 1."""
        num_classes = len(self.class_weights)
        certain = functional.one_hot(index, num_classes).float()
        return certain * (1 - self.label_smoothing) + self.label_smoothing / num_classes


def build_classification_loss(
    task: TaskSpec, counts: Sequence[int], config: ClassificationLossConfig
) -> ClassificationLoss:
    """The loss of a task; class weights and logit adjustment come from the training cases' counts.

    Raises:
        DataError: no training case has a class of the task, or a class has no training case.
    """
    assert len(counts) == len(task.classes)
    where = f"task {task.name!r}, training cases"
    shares = class_shares(counts, added_cases=config.added_cases, where=where)
    weights = (1.0,) * len(counts)
    if config.class_weights == "inverse_frequency":
        weights = inverse_frequency_weights(counts, added_cases=config.added_cases, where=where)
    tau = config.logit_adjustment
    return ClassificationLoss(
        weights,
        label_smoothing=config.label_smoothing,
        focal_gamma=config.focal_gamma if config.kind == "focal" else 0.0,
        logit_offsets=[tau * math.log(share) for share in shares],
    )
