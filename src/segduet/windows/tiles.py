"""Where the windows of a sliding-window prediction start, and the padding they need.

All shapes, patches and starts are (z, y, x); a 2D patch has Z = 1.
"""

import itertools
import math

import numpy as np

Shape = tuple[int, int, int]
Start = tuple[int, int, int]
SpatialBox = tuple[slice, slice, slice]


def tile_starts(shape_zyx: Shape, patch_zyx: Shape, step: float = 0.5) -> list[Start]:
    """First voxels of the windows that cover an image, in nnU-Net's order (x runs fastest).

    Neighbours are at most `step * patch` voxels apart and spread evenly, the last window ends with
    the image, so that every voxel is covered. Along an axis where the patch is one voxel thick
    (2D configurations) every slice is visited exactly once, whatever the step.

    Args:
        shape_zyx: image shape, at least the patch (see `pad_to_patch`).
        patch_zyx: window shape.
        step: distance between windows as a share of the patch, in (0, 1].

    Source: Isensee et al. 2021, nnU-Net, doi:10.1038/s41592-020-01008-z, "Inference".
    """
    assert 0 < step <= 1, step
    assert all(n >= p for n, p in zip(shape_zyx, patch_zyx, strict=True)), (shape_zyx, patch_zyx)
    along_axes = (_starts_along(n, p, step) for n, p in zip(shape_zyx, patch_zyx, strict=True))
    return [(z, y, x) for z, y, x in itertools.product(*along_axes)]


def _starts_along(length: int, patch: int, step: float) -> list[int]:
    if patch == 1:
        return list(range(length))
    last = length - patch
    num_gaps = math.ceil(last / (patch * step))
    # round() and not floor: half to even, as numpy rounds in nnU-Net
    return [round(last / num_gaps * i) for i in range(num_gaps + 1)] if num_gaps else [0]


def region_at(start: Start, patch_zyx: Shape) -> SpatialBox:
    """The slices of the window that begins at `start`."""
    z, y, x = (slice(a, a + p) for a, p in zip(start, patch_zyx, strict=True))
    return (z, y, x)


def pad_to_patch(image: np.ndarray, patch_zyx: Shape) -> tuple[np.ndarray, SpatialBox]:
    """The image, zero-padded where it is smaller than the patch, and the box of the image in it.

    The image lies in the centre; an odd voxel of padding goes behind it, as in nnU-Net. An image
    that is large enough is returned itself, not a copy.

    Args:
        image: (C, Z, Y, X), any dtype.
        patch_zyx: smallest shape that is wanted.

    Returns:
        The padded image (C, Z', Y', X'), and slices with `padded[:, *box]` equal to `image`.
    """
    shape = image.shape[1:]
    missing = [max(p - n, 0) for n, p in zip(shape, patch_zyx, strict=True)]
    z, y, x = (slice(m // 2, m // 2 + n) for m, n in zip(missing, shape, strict=True))
    box = (z, y, x)
    if not any(missing):
        return image, box
    padded_shape = tuple(n + m for n, m in zip(shape, missing, strict=True))
    padded = np.zeros((image.shape[0], *padded_shape), dtype=image.dtype)
    padded[:, z, y, x] = image
    return padded, box


def num_voxels_inside(start: Start, patch_zyx: Shape, box: SpatialBox) -> int:
    """How many voxels of the window at `start` lie inside the box (image rather than padding)."""
    return math.prod(
        max(0, min(first + length, inside.stop) - max(first, inside.start))
        for first, length, inside in zip(start, patch_zyx, box, strict=True)
    )
