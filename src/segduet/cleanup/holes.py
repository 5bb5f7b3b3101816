"""Cavities that a mask closes in."""

import numpy as np
from scipy import ndimage

from segduet.cleanup.boxes import bounding_box, pasted

_FACES = ndimage.generate_binary_structure(3, 1)


def holes(mask: np.ndarray) -> np.ndarray:
    """What the mask closes in: no way leads out of it over faces of voxels outside the mask.

    What reaches the image's border is open. An image of one slice is closed in within the slice,
    one of several slices must be closed along all three axes.

    Args:
        mask: (Z, Y, X) bool.

    Returns:
        (Z, Y, X) bool, nothing of the mask itself.
    """
    box = bounding_box(mask)
    outside, count = ndimage.label(~mask[box], _FACES)
    is_open = np.zeros(count + 1, bool)
    is_open[0] = True  # the mask itself
    for axis, length in enumerate(mask.shape):
        if length > 1 and outside.size:
            is_open[outside.take((0, -1), axis=axis)] = True
    return pasted(mask.shape, box, ~is_open[outside])
