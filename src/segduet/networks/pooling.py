"""Weighted sums over voxels, kept apart until all windows of a case are added up.

B batch, A ways of weighing the voxels, C channels, S numbers.
"""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

_VARIANCE_FLOOR = 1e-5  # keeps the gradient of the square root finite where features are constant


def weighted_sums(values: Tensor, weights: Tensor) -> Tensor:
    """Sums of the values over all voxels, once for every way of weighing them.

    Args:
        values: (B, C, *spatial), any float dtype; summed in float32.
        weights: (B, A, *spatial) float32, >= 0.

    Returns:
        (B, A, C) float32; sums of disjoint windows add.
    """
    # Autocast would compute the product in half precision, where a million voxels overflow.
    with torch.autocast(values.device.type, enabled=False):
        return torch.bmm(weights.flatten(2), values.flatten(2).float().transpose(1, 2))


def spread(first: Tensor, second: Tensor, total: Tensor) -> Tensor:
    """Weighted standard deviation, floored at 0.003 to keep its gradient finite.

    Args:
        first: (..., C) weighted sum of the values.
        second: (..., C) weighted sum of their squares.
        total: (..., 1) sum of the weights, > 0.
    """
    variance = second / total - (first / total).square()
    return torch.sqrt(variance.clamp_min(0) + _VARIANCE_FLOOR)


def owned_weights(weights: Tensor, spatial: Sequence[int]) -> Tensor:
    """Weight of every cell of a coarser grid: the sum over the voxels it stands for.

    Voxel i of n belongs to cell floor(i * m / n) of m, as in nearest-neighbour upsampling, so
    pooling coarse features with these weights equals pooling the upsampled ones.

    Args:
        weights: (B, A, *fine) float32.
        spatial: the coarser grid; it need not divide the fine one.

    Returns:
        (B, A, *spatial) float32 with the same total.
    """
    fine = weights.shape[2:]
    if all(n % m == 0 for n, m in zip(fine, spatial, strict=True)):
        # Written for converters: a traced network needs numbers here (the strides do not change),
        # and OpenVINO does not know `divisor_override`.
        kernel = tuple(int(n // m) for n, m in zip(fine, spatial, strict=True))
        pool = functional.avg_pool2d if len(kernel) == 2 else functional.avg_pool3d
        return pool(weights, kernel) * math.prod(kernel)
    for axis, (n, m) in enumerate(zip(fine, spatial, strict=True), start=2):
        owner = torch.arange(n, device=weights.device) * m // n
        shape = [*weights.shape[:axis], m, *weights.shape[axis + 1 :]]
        weights = weights.new_zeros(shape).index_add(axis, owner, weights)
    return weights


def mean_map(maps: Sequence[Tensor], like: Tensor) -> Tensor:
    """Mean of maps (B, 1, *coarse) after nearest-neighbour upsampling, (B, 1, *spatial of like)."""
    fine = like.shape[2:]
    return torch.stack([functional.interpolate(m, size=fine) for m in maps]).mean(0)


def per_case(numbers: Tensor, like: Tensor) -> Tensor:
    """Numbers (B, 1) in a shape that meets every entry of `like` (B, ...)."""
    return numbers.reshape(-1, *[1] * (like.ndim - 1))


class SumsLayout:
    """Where each named sum lies in the one vector a window or case is told by.

    Args:
        shapes: name -> shape without the batch axis.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self._shapes = dict(shapes)

    @property
    def size(self) -> int:
        """Length S of the vector."""
        return sum(math.prod(shape) for shape in self._shapes.values())

    def pack(self, parts: Mapping[str, Tensor]) -> Tensor:
        """One vector (B, S) of all sums."""
        return torch.cat([parts[name].flatten(1) for name in self._shapes], 1)

    def unpack(self, sums: Tensor) -> dict[str, Tensor]:
        """The named sums of a vector (B, S)."""
        sizes = [math.prod(shape) for shape in self._shapes.values()]
        pieces = zip(self._shapes.items(), torch.split(sums, sizes, 1), strict=True)
        return {name: piece.reshape(-1, *shape) for (name, shape), piece in pieces}
