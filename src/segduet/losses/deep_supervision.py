"""The segmentation loss at several resolutions. B batch, K channels."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from segduet.losses.segmentation import SegmentationLoss


def deep_supervision_weights(num_outputs: int) -> tuple[float, ...]:
    """Weights of the resolutions, highest first: halved at each step, the lowest 0, sum 1 (F29).

    A single output weighs 1.

    Source: nnU-Net 2.8.1; the idea is Lee et al. 2015, arXiv 1409.5185.
    """
    assert num_outputs > 0
    raw = [0.5**level for level in range(num_outputs)]
    if num_outputs > 1:
        raw[-1] = 0.0
    return tuple(weight / sum(raw) for weight in raw)


def resized_labels(target: Tensor, spatial: Sequence[int]) -> Tensor:
    """Label map (B, 1, *fine) at another size, each voxel from its nearest; dtype is kept.

    Source: `nearest-exact` interpolation, as nnU-Net's augmentation does it, so label values
    below 2**24 are exact.
    """
    if tuple(target.shape[2:]) == tuple(spatial):
        return target
    resized = functional.interpolate(target.float(), tuple(spatial), mode="nearest-exact")
    return resized.to(target.dtype)


class DeepSupervisionLoss(nn.Module):
    """Weighted sum of a segmentation loss over the outputs of a deeply supervised network."""

    def __init__(self, loss: SegmentationLoss) -> None:
        """Wraps the loss of one resolution."""
        super().__init__()
        self.loss = loss

    def forward(
        self, outputs: Sequence[Tensor], target: Tensor, has_mask: Tensor | None = None
    ) -> Tensor:
        """The loss of all resolutions; with a single output, exactly the wrapped loss.

        Args:
            outputs: logits (B, K, *spatial), highest resolution first.
            target: (B, 1, *spatial) or (B, *spatial) integers at the highest resolution.
            has_mask: (B,) bool, False where nobody drew a mask.
        """
        labels = target if target.ndim == outputs[0].ndim else target[:, None]
        weights = deep_supervision_weights(len(outputs))
        terms = [
            weight * self.loss(logits, resized_labels(labels, logits.shape[2:]), has_mask)
            for weight, logits in zip(weights, outputs, strict=True)
            if weight > 0
        ]
        return torch.stack(terms).sum()
