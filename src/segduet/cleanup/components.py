"""Connected components of masks; voxels that touch at a corner are connected (26, in 2D 8).

Masks are (Z, Y, X) bool, Z = 1 for a 2D image.
"""

import numpy as np
from scipy import ndimage

from segduet.cleanup.boxes import Box, bounding_box, pasted

_FULL = ndimage.generate_binary_structure(3, 3)

#: Sizes that differ by less than this share are the same (volumes are products of spacings).
_ROUNDING = 1e-9


def largest_component(mask: np.ndarray) -> np.ndarray:
    """The largest component, or those that draw level; nothing of an empty mask.

    Source: nnU-Net 2.8.1, `remove_all_but_largest_component_from_segmentation`.
    """
    box, numbers, sizes = _components(mask)
    return _of_numbers(mask, box, numbers, sizes == sizes.max(initial=0))


def components_of_size(mask: np.ndarray, *, min_voxels: float) -> np.ndarray:
    """Components of at least `min_voxels`, which need not be whole."""
    box, numbers, sizes = _components(mask)
    return _of_numbers(mask, box, numbers, sizes >= min_voxels * (1 - _ROUNDING))


def components_that_meet(mask: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Components that share a voxel with another mask of the same shape."""
    box, numbers, sizes = _components(mask)
    shared = np.bincount(numbers[other[box]], minlength=len(sizes) + 1)[1:]
    return _of_numbers(mask, box, numbers, shared > 0)


def _components(mask: np.ndarray) -> tuple[Box, np.ndarray, np.ndarray]:
    """The mask's box, the number of each voxel's component in it (0 outside), and their sizes."""
    box = bounding_box(mask)
    numbers, count = ndimage.label(mask[box], _FULL)
    return box, numbers, np.bincount(numbers.ravel(), minlength=count + 1)[1:]


def _of_numbers(mask: np.ndarray, box: Box, numbers: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The mask's components for which `wanted` (one entry each, from number 1) is True."""
    return pasted(mask.shape, box, np.concatenate([[False], wanted])[numbers])
