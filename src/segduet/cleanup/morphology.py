"""Dilation, opening and closing by a ball in millimetres, whatever the spacing.

Masks are (Z, Y, X) bool. A voxel belongs to the ball around another one if their centres are at
most a radius apart. What the image's border cuts is taken to go on beyond it when it is opened, so
that nothing is worn off there, and to end when it is closed, so that nothing grows towards it.
"""

import numpy as np
from scipy import ndimage

from segduet.cleanup.boxes import Box, bounding_box, pasted

Spacing = tuple[float, float, float]

#: Distances that differ by less than this share are the same (sums of squares of spacings).
_ROUNDING = 1e-9


def dilated(mask: np.ndarray, spacing_mm: Spacing, *, radius_mm: float) -> np.ndarray:
    """Every voxel within the radius of the mask; an empty mask stays empty.

    Args:
        mask: where to start.
        spacing_mm: along z, y, x.
        radius_mm: >= 0.
    """
    box = _box_around(mask, spacing_mm, radius_mm)
    return pasted(mask.shape, box, _grown(mask[box], spacing_mm, radius_mm))


def opened(mask: np.ndarray, spacing_mm: Spacing, *, radius_mm: float) -> np.ndarray:
    """Every voxel of a ball that fits into the mask; never more than the mask.

    Args:
        mask: what to open.
        spacing_mm: along z, y, x.
        radius_mm: > 0.

    Source: Serra (1982), Image Analysis and Mathematical Morphology, chapter II.
    """
    box = _box_around(mask, spacing_mm, 0)
    core = _shrunk(mask[box], spacing_mm, radius_mm)
    return pasted(mask.shape, box, _grown(core, spacing_mm, radius_mm))


def closed(mask: np.ndarray, spacing_mm: Spacing, *, radius_mm: float) -> np.ndarray:
    """Every voxel that no ball beside the mask can reach; never less than the mask.

    Args:
        mask: what to close; an empty one stays empty.
        spacing_mm: along z, y, x.
        radius_mm: > 0.

    Source: Serra (1982), Image Analysis and Mathematical Morphology, chapter II.
    """
    box = bounding_box(mask)
    margins = [(reach, reach) for reach in _reach(spacing_mm, radius_mm)]
    grown = _grown(np.pad(mask[box], margins), spacing_mm, radius_mm)
    inner = tuple(slice(before, -after) for before, after in margins)
    return pasted(mask.shape, box, _shrunk(grown, spacing_mm, radius_mm)[inner])


def _box_around(mask: np.ndarray, spacing_mm: Spacing, radius_mm: float) -> Box:
    return bounding_box(mask, _reach(spacing_mm, radius_mm))


def _reach(spacing_mm: Spacing, radius_mm: float) -> list[int]:
    """Voxels a ball reaches along each axis, and one more that shows that there is an outside."""
    return [int(radius_mm * (1 + _ROUNDING) / spacing) + 1 for spacing in spacing_mm]


def _grown(mask: np.ndarray, spacing_mm: Spacing, radius_mm: float) -> np.ndarray:
    if not mask.any():
        return mask
    distances = ndimage.distance_transform_edt(~mask, sampling=spacing_mm)
    return np.asarray(distances <= radius_mm * (1 + _ROUNDING))


def _shrunk(mask: np.ndarray, spacing_mm: Spacing, radius_mm: float) -> np.ndarray:
    return ~_grown(~mask, spacing_mm, radius_mm)
