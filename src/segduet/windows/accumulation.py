"""Putting the answers of overlapping windows together into one array."""

from typing import Any, Self

import numpy as np

from segduet.windows.blending import gaussian_weights
from segduet.windows.tiles import Shape, Start, region_at

#: A numpy array or a torch tensor: only slicing, `+=`, `*`, `/=` and `min` are used.
Array = Any


class TileAccumulator:
    """Weighted mean of windows; the sums live wherever the buffers do (numpy, or a torch device).

    Args:
        sums: (K, Z, Y, X) float32 zeros, changed in place.
        weight_sums: (Z, Y, X) float32 zeros, changed in place.
        tile_weights: (z, y, x) float32 > 0, weight of every voxel of a window.
    """

    def __init__(self, sums: Array, weight_sums: Array, tile_weights: Array) -> None:
        assert tuple(sums.shape[1:]) == tuple(weight_sums.shape), (sums.shape, weight_sums.shape)
        self._sums = sums
        self._weight_sums = weight_sums
        self._tile_weights = tile_weights
        self._is_finished = False

    @classmethod
    def in_numpy(cls, num_channels: int, shape_zyx: Shape, patch_zyx: Shape) -> Self:
        """An empty accumulator in main memory with Gaussian weights."""
        return cls(
            np.zeros((num_channels, *shape_zyx), dtype=np.float32),
            np.zeros(shape_zyx, dtype=np.float32),
            gaussian_weights(patch_zyx),
        )

    def add(self, tile: Array, start: Start) -> None:
        """Adds the window (K, z, y, x) that begins at `start` and lies wholly inside."""
        assert not self._is_finished
        region = region_at(start, tuple(self._tile_weights.shape))
        self._sums[(slice(None), *region)] += tile * self._tile_weights
        self._weight_sums[region] += self._tile_weights

    def finish(self) -> Array:
        """The weighted mean (K, Z, Y, X) float32, in the buffer given; ends the accumulation.

        The order in which windows were added changes it by rounding only (float32 sums).
        """
        assert not self._is_finished
        assert float(self._weight_sums.min()) > 0, "a voxel that no window covers"
        self._is_finished = True
        self._sums /= self._weight_sums
        return self._sums
