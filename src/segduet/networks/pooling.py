"""Weighted moments of feature maps, kept as sums so that tiles of one case can be added up.

B batch, C channels.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional

_VARIANCE_FLOOR = 1e-5  # keeps the gradient of the square root finite where features are constant


@dataclass(frozen=True, slots=True, kw_only=True)
class PooledSums:
    """Numerators and denominator of the weighted moments; sums of disjoint windows add.

    Attributes:
        weight: (B, 1) float32, sum of the weights.
        first: (B, C) float32, weighted sum of the features.
        second: (B, C) float32, weighted sum of their squares.
    """

    weight: Tensor
    first: Tensor
    second: Tensor

    @classmethod
    def of(cls, features: Tensor, weights: Tensor) -> Self:
        """Sums over all voxels.

        Args:
            features: (B, C, *spatial), any float dtype; summed in float32.
            weights: (B, 1, *spatial) float32, >= 0.
        """
        axes = tuple(range(2, features.ndim))
        # Products, not a matrix product: autocast would compute that in half precision.
        values = features.float()
        weighted = values * weights
        return cls(
            weight=weights.sum(axes),
            first=weighted.sum(axes),
            second=(weighted * values).sum(axes),
        )

    @property
    def mean(self) -> Tensor:
        """Weighted mean (B, C); not finite where all weights are 0."""
        return self.first / self.weight

    @property
    def spread(self) -> Tensor:
        """Weighted standard deviation (B, C), floored at 0.003 to keep its gradient finite."""
        variance = self.second / self.weight - self.mean.square()
        return torch.sqrt(variance.clamp_min(0) + _VARIANCE_FLOOR)


def region_weights(probability: Tensor, prior_voxels: float) -> Tensor:
    """Voxel weights that follow a region and become uniform as the region vanishes.

    Args:
        probability: (B, 1, *spatial) float32 in [0, 1].
        prior_voxels: > 0, total weight spread evenly over the window, in voxels: a predicted
            region of this volume weighs as much as the whole window.

    Returns:
        (B, 1, *spatial) float32, > 0.
    """
    return probability + prior_voxels / math.prod(probability.shape[2:])


def resized_to(weights: Tensor, spatial: Sequence[int]) -> Tensor:
    """Averages weights (B, 1, *fine) over the cells of a coarser grid, (B, 1, *spatial).

    Every fine axis must be a multiple of the coarse one, as a U-Net's own sizes are.
    """
    kernel = tuple(fine // coarse for fine, coarse in zip(weights.shape[2:], spatial, strict=True))
    assert all(k * n == f for k, n, f in zip(kernel, spatial, weights.shape[2:], strict=True))
    if all(k == 1 for k in kernel):
        return weights
    if len(kernel) == 2:
        return functional.avg_pool2d(weights, kernel)
    return functional.avg_pool3d(weights, kernel)
