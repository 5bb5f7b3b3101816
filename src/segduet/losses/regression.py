"""The loss of a number. B batch."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from segduet.core.tasks import TaskScale
from segduet.losses.weighted_mean import weighted_mean


class RegressionLoss(nn.Module):
    """Smooth L1 of z-scores: squared below one standard deviation, straight beyond.

    In z-scores a millimetre task and a per cent task weigh alike beside the other losses.

    Source: Huber (1964), doi:10.1214/aoms/1177703732; delta is 1 standard deviation.
    """

    def __init__(self, scale: TaskScale) -> None:
        """Builds the loss; `scale` is that of the training cases."""
        super().__init__()
        self.scale = scale

    def forward(self, outputs: Tensor, targets: Tensor, evidence: Tensor | None = None) -> Tensor:
        """The loss of a batch.

        Args:
            outputs: (B, 1) z-scores, any float dtype; computed in float32.
            targets: (B, 1) in the task's unit, NaN where it is unknown.
            evidence: (B,) float in [0, 1], weight of each window; None means 1.

        Returns:
            Scalar float32, >= 0. Windows of unknown value or weight 0 get a gradient of exactly 0;
            where all are so, the loss is 0.
        """
        known = ~targets.isnan()
        scores = (targets.float() - self.scale.mean) / self.scale.sd
        terms = functional.smooth_l1_loss(
            outputs.float(), torch.where(known, scores, 0.0), reduction="none"
        )
        return weighted_mean(terms, known.float(), evidence)
