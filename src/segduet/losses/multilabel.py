"""The loss of any number of findings at once. B batch, K findings."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segduet.core.tasks import TaskSpec
from segduet.losses.classification import class_shares
from segduet.losses.config import ClassificationLossConfig
from segduet.losses.weighted_mean import weighted_mean
from segduet.losses.yes_no import yes_no_terms


class MultilabelLoss(nn.Module):
    """Binary cross entropy of every finding, the cases that have it weighed against the others."""

    pair_weights: Tensor
    logit_offsets: Tensor

    def __init__(
        self,
        weights: Sequence[tuple[float, float]],
        *,
        logit_offsets: Sequence[float],
        label_smoothing: float = 0.0,
        focal_gamma: float = 0.0,
    ) -> None:
        """Builds the loss.

        Args:
            weights: for each finding the weight of a case without it and of one with it.
            logit_offsets: added to the logit of each finding inside the loss.
            label_smoothing: in [0, 1), share of the target spread evenly over yes and no.
            focal_gamma: >= 0; 0 is cross entropy.
        """
        super().__init__()
        self.register_buffer("pair_weights", torch.tensor(weights), persistent=False)
        self.register_buffer("logit_offsets", torch.tensor(logit_offsets), persistent=False)
        self.label_smoothing = label_smoothing
        self.focal_gamma = focal_gamma

    def forward(self, outputs: Tensor, targets: Tensor, evidence: Tensor | None = None) -> Tensor:
        """The loss of a batch.

        Args:
            outputs: (B, K) logits, any float dtype; computed in float32.
            targets: (B, K) 0 or 1, NaN where it is unknown.
            evidence: (B,) float in [0, 1], weight of each window; None means 1.

        Returns:
            Scalar float32, >= 0. Unknown findings get a gradient of exactly 0; where all are so,
            the loss is 0.
        """
        known = ~targets.isnan()
        answers = torch.where(known, targets, 0.0).float()
        terms = yes_no_terms(
            outputs.float() + self.logit_offsets,
            answers,
            label_smoothing=self.label_smoothing,
            focal_gamma=self.focal_gamma,
        )
        without, with_it = self.pair_weights.T
        weights = torch.where(answers > 0.5, with_it, without) * known
        return weighted_mean(terms, weights, evidence)


def build_multilabel_loss(
    task: TaskSpec, counts: Sequence[tuple[int, int]], config: ClassificationLossConfig
) -> MultilabelLoss:
    """The loss of a task; every finding is weighed and adjusted as a task of two classes.

    With inverse frequencies a finding's cases count as much as the cases without it, and every
    finding as much as the others.

    Args:
        task: a multilabel task.
        counts: for each finding the training cases known to be without it and with it.
        config: how classes are learnt.

    Raises:
        DataError: a finding no training case has, or all have.
    """
    shares = [
        class_shares(
            pair,
            added_cases=config.added_cases,
            where=f"task {task.name!r}, training cases without and with {name!r}",
        )
        for name, pair in zip(task.classes, counts, strict=True)
    ]
    is_balanced = config.class_weights == "inverse_frequency"
    return MultilabelLoss(
        [(1 / (2 * no), 1 / (2 * yes)) if is_balanced else (1.0, 1.0) for no, yes in shares],
        logit_offsets=[config.logit_adjustment * math.log(yes / no) for no, yes in shares],
        label_smoothing=config.label_smoothing,
        focal_gamma=config.focal_gamma if config.kind == "focal" else 0.0,
    )
