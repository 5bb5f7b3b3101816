"""Boxes around masks, so that work follows the size of a structure and not of the image."""

from collections.abc import Sequence

import numpy as np

Box = tuple[slice, slice, slice]


def bounding_box(mask: np.ndarray, margin: Sequence[int] = (0, 0, 0)) -> Box:
    """The smallest box that holds the mask and a margin, cut at the image's border.

    Args:
        mask: (Z, Y, X) bool; an empty one has an empty box.
        margin: voxels to add on both sides, along z, y, x.
    """
    z, y, x = (_extent(mask, axis, margin[axis]) for axis in range(3))
    return z, y, x


def pasted(shape: tuple[int, ...], box: Box, part: np.ndarray) -> np.ndarray:
    """A mask of this shape that is `part` in the box and False elsewhere."""
    whole = np.zeros(shape, bool)
    whole[box] = part
    return whole


def _extent(mask: np.ndarray, axis: int, margin: int) -> slice:
    others = tuple(other for other in range(3) if other != axis)
    used = np.flatnonzero(mask.any(axis=others))
    if not used.size:
        return slice(0, 0)
    return slice(max(0, int(used[0]) - margin), int(used[-1]) + 1 + margin)
