"""Cutting away the empty border of an image, as nnU-Net does. Axes are z, y, x."""

import numpy as np

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
    depth = image.shape[1]
    occupied = (z for z in range(depth) if image[:, z].any())
    first = next(occupied, None)
    if first is None:
        rows, columns = image.shape[2:]
        return ((0, depth), (0, rows), (0, columns))
    last = next(z for z in reversed(range(depth)) if image[:, z].any())
    has_rows, has_columns = np.zeros(image.shape[2], bool), np.zeros(image.shape[3], bool)
    for z in range(first, last + 1):
        is_nonzero = (image[:, z] != 0).any(axis=0)
        has_rows |= is_nonzero.any(axis=1)
        has_columns |= is_nonzero.any(axis=0)
        if has_rows[0] and has_rows[-1] and has_columns[0] and has_columns[-1]:
            # most scans: air is not zero, and the first slice says it all
            break
    return ((first, last + 1), _extent(has_rows), _extent(has_columns))


def _extent(is_occupied: np.ndarray) -> tuple[int, int]:
    positions = np.flatnonzero(is_occupied)
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
    from scipy import ndimage  # takes longer to import than most cases to prepare

    is_inside = ndimage.binary_fill_holes(np.any(image != 0, axis=0))
    marked = (
        np.zeros(image.shape[1:], np.int16) if label_map is None else label_map.astype(np.int16)
    )
    marked[(marked == 0) & ~is_inside] = OUTSIDE
    return marked
