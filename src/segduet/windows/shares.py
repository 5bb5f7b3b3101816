"""How the windows of a case share its voxels. All shapes, patches and starts are (z, y, x)."""

from typing import Self

import numpy as np

from segduet.windows.blending import gaussian_weights
from segduet.windows.tiles import Shape, SpatialBox, Start, tile_starts

#: Shares of the voxels of one window along z, y and x.
AxisShares = tuple[np.ndarray, np.ndarray, np.ndarray]


class WindowShares:
    """The share of each voxel that belongs to each window that holds it.

    Over all windows the shares of a voxel of the image sum to 1, so that sums over windows count
    it once; voxels of the padding have none. A window's shares are its Gaussian weights, divided
    by the sum of the weights of all windows: masks blended by shares need no division afterwards.
    Since windows and weights are products over the axes, shares are too.

    Args:
        along_axes: per axis, first voxel of a window -> (length of the patch,) float32 shares.
    """

    def __init__(self, along_axes: tuple[dict[int, np.ndarray], ...]) -> None:
        self._along_axes = along_axes

    @classmethod
    def of_tiling(cls, shape: Shape, patch: Shape, step: float, box: SpatialBox) -> Self:
        """The shares of the windows of `tile_starts(shape, patch, step)`.

        Args:
            shape: of the padded image.
            patch: of a window.
            step: distance between windows as a share of the patch.
            box: where the image lies in the padded one.
        """
        axes = zip(shape, patch, box, strict=True)
        return cls(tuple(_along(n, p, step, inside) for n, p, inside in axes))

    def along(self, start: Start) -> AxisShares:
        """Shares of the window that begins at `start` along each axis; their product is `at`."""
        z, y, x = (shares[first] for shares, first in zip(self._along_axes, start, strict=True))
        return z, y, x

    def at(self, start: Start) -> np.ndarray:
        """Shares of the window that begins at `start`, (z, y, x) float32 in [0, 1]."""
        z, y, x = self.along(start)
        product: np.ndarray = (z[:, None] * y)[..., None] * x
        return product


def _along(length: int, patch: int, step: float, inside: slice) -> dict[int, np.ndarray]:
    # A start can occur twice where steps are shorter than a voxel; both windows share.
    firsts = [z for z, _, _ in tile_starts((length, 1, 1), (patch, 1, 1), step)]
    bell = gaussian_weights((patch, 1, 1))[:, 0, 0].astype(np.float64)
    sums = np.zeros(length)
    for first in firsts:
        sums[first : first + patch] += bell
    assert sums.min() > 0, "a voxel that no window covers"
    is_image = np.zeros(length)
    is_image[inside] = 1
    shares = bell / sums[np.add.outer(firsts, np.arange(patch))]
    return {
        first: (share * is_image[first : first + patch]).astype(np.float32)
        for first, share in zip(firsts, shares, strict=True)
    }
