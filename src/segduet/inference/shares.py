"""How the windows of a case share its voxels. All shapes, patches and starts are (z, y, x)."""

from typing import Self

import numpy as np

from segduet.windows.blending import gaussian_weights
from segduet.windows.tiles import Shape, SpatialBox, Start, tile_starts


class WindowShares:
    """The share of each voxel that belongs to each window that holds it.

    Over all windows the shares of a voxel of the image sum to 1, so that sums over windows count
    it once; voxels of the padding have none. A window's shares are the weights with which its
    masks are blended, divided by their sum. Since windows and weights are products over the axes,
    shares are too.

    Args:
        along_axes: per axis, first voxel of a window -> (length of the patch,) float64 shares.
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

    def at(self, start: Start) -> np.ndarray:
        """Shares of the window that begins at `start`, (z, y, x) float32 in [0, 1]."""
        z, y, x = (shares[first] for shares, first in zip(self._along_axes, start, strict=True))
        return np.asarray(z[:, None, None] * y[:, None] * x, dtype=np.float32)


def _along(length: int, patch: int, step: float, inside: slice) -> dict[int, np.ndarray]:
    # A start can occur twice where steps are shorter than a voxel; both windows share.
    firsts = [z for z, _, _ in tile_starts((length, 1, 1), (patch, 1, 1), step)]
    bell = gaussian_weights((patch, 1, 1))[:, 0, 0].astype(np.float64)
    sums = np.zeros(length)
    for first in firsts:
        sums[first : first + patch] += bell
    is_image = np.zeros(length)
    is_image[inside] = 1
    return {
        first: bell * is_image[first : first + patch] / sums[first : first + patch]
        for first in firsts
    }
