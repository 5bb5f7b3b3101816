"""Cutting away the empty border of an image, as nnU-Net does. Axes are z, y, x."""

import numpy as np
from scipy import ndimage

from segduet.core.prepared import Box

#: Value nnU-Net writes into a label map outside the nonzero region.
OUTSIDE = -1


def nonzero_box(image: np.ndarray) -> Box:
    """Smallest box that holds every voxel with a nonzero channel.

    Args:
        image: (C, Z, Y, X), any numeric dtype.

    Returns:
        Half-open (start, stop) per axis; the whole image where every voxel is zero.
    """
    is_nonzero = np.any(image != 0, axis=0)
    z, y, x = (_extent(is_nonzero.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3))
    return (z, y, x)


def _extent(is_occupied: np.ndarray) -> tuple[int, int]:
    positions = np.flatnonzero(is_occupied)
    if positions.size == 0:
        return (0, is_occupied.size)
    return (int(positions[0]), int(positions[-1]) + 1)


def box_slices(box: Box) -> tuple[slice, slice, slice]:
    """The box as an index for a (Z, Y, X) array."""
    z, y, x = (slice(start, stop) for start, stop in box)
    return (z, y, x)


def mark_outside(image: np.ndarray, label_map: np.ndarray | None) -> np.ndarray:
    """Label map in which unlabelled voxels outside the filled nonzero region are -1.

    Args:
        image: (C, Z, Y, X), already cut to its nonzero box. (Holes can be filled after the cut: the
            box is tight, so what reaches its faces reached the border of the whole image.)
        label_map: (Z, Y, X) integers on the same grid; None counts as all background.

    Returns:
        (Z, Y, X) int16; labels other than 0 are kept wherever they are.
    """
    is_inside = ndimage.binary_fill_holes(np.any(image != 0, axis=0))
    marked = (
        np.zeros(image.shape[1:], np.int16) if label_map is None else label_map.astype(np.int16)
    )
    marked[(marked == 0) & ~is_inside] = OUTSIDE
    return marked
