"""Where the windows of a sliding-window prediction start, and the padding they need.

All shapes, patches and starts are (z, y, x); a 2D patch has Z = 1.
"""

import itertools
import math
from collections.abc import Callable, Sequence

Shape = tuple[int, int, int]
Start = tuple[int, int, int]
SpatialBox = tuple[slice, slice, slice]

# Of the patch's voxels, in a fitted window; `test_a_trained_network_loses_little` shows what a
# smaller share costs. It also leaves two cells of the deepest features along every axis.
_LEAST_SHARE = 0.75
# The same the other way round, and along every axis: longer windows cost more than shorter ones.
_LARGEST_SHARE = 1.2


def tile_starts(shape_zyx: Shape, patch_zyx: Shape, step: float = 0.5) -> list[Start]:
    """First voxels of the windows that cover an image, in nnU-Net's order (x runs fastest).

    Neighbours are at most `step * patch` voxels apart and spread evenly, the last window ends with
    the image, so that every voxel is covered. Along an axis where the patch is one voxel thick
    (2D configurations) every slice is visited exactly once, whatever the step.

    Args:
        shape_zyx: image shape, at least the patch (see `padded_to_patch`).
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


def padded_to_patch(shape_zyx: Shape, patch_zyx: Shape) -> tuple[Shape, SpatialBox]:
    """Shape of an image once it is at least as large as the patch, and where the image lies in it.

    The image lies in the centre; an odd voxel of padding goes behind it, as in nnU-Net. No image
    is padded as a whole: windows are filled up with zeros where they leave it.
    """
    missing = [max(p - n, 0) for n, p in zip(shape_zyx, patch_zyx, strict=True)]
    depth, height, width = (n + m for n, m in zip(shape_zyx, missing, strict=True))
    z, y, x = (slice(m // 2, m // 2 + n) for m, n in zip(missing, shape_zyx, strict=True))
    return (depth, height, width), (z, y, x)


def fitted_window(shape_zyx: Shape, patch_zyx: Shape, multiple_zyx: Shape) -> Shape:
    """The window for an image: the patch, or nearer to the size of an image of about its size.

    Along an axis on which the image is smaller than the patch, or longer by no more than a fifth,
    the smallest multiple that holds it, so that one window does instead of two; along other axes
    the patch. In windows far smaller or larger than those of training, instance normalisation finds
    other statistics. So a window with less than three quarters of the patch's voxels grows, the
    most shortened axis first; one with more than 1.2 times as many gives up what was lengthened,
    the most lengthened axis first.

    Args:
        shape_zyx: image shape.
        patch_zyx: window shape that the network was trained with, multiples of `multiple_zyx`.
        multiple_zyx: what windows must be multiples of, the network's total stride.
    """
    axes = list(zip(shape_zyx, patch_zyx, multiple_zyx, strict=True))
    assert all(patch % multiple == 0 for _, patch, multiple in axes), (patch_zyx, multiple_zyx)
    window = [_fitted_length(*axis) for axis in axes]
    while math.prod(window) < _LEAST_SHARE * math.prod(patch_zyx):
        axis = _axis_of(min, window, patch_zyx)
        window[axis] += multiple_zyx[axis]
    while math.prod(window) > _LARGEST_SHARE * math.prod(patch_zyx):
        axis = _axis_of(max, window, patch_zyx)
        window[axis] = patch_zyx[axis]
    z, y, x = window
    return (z, y, x)


def _fitted_length(length: int, patch: int, multiple: int) -> int:
    holding = math.ceil(length / multiple) * multiple
    return holding if holding <= _LARGEST_SHARE * patch else patch


def _axis_of(extreme: Callable[..., float], window: Sequence[int], patch: Sequence[int]) -> int:
    """The axis along which the window is the largest or smallest share of the patch."""
    shares = [length / whole for length, whole in zip(window, patch, strict=True)]
    return shares.index(extreme(shares))


def window_parts(start: Start, patch_zyx: Shape, box: SpatialBox) -> tuple[SpatialBox, SpatialBox]:
    """The part of a window that holds image: its slices in the window, and in the image.

    Args:
        start: first voxel of the window in the padded image.
        patch_zyx: shape of the window.
        box: where the image lies in the padded one.
    """
    axes = list(zip(start, patch_zyx, box, strict=True))
    firsts = [max(first, inside.start) for first, _, inside in axes]
    stops = [min(first + length, inside.stop) for first, length, inside in axes]
    ends = list(zip(firsts, stops, axes, strict=True))
    z, y, x = (slice(a - first, b - first) for a, b, (first, _, _) in ends)
    in_image = (slice(a - inside.start, b - inside.start) for a, b, (_, _, inside) in ends)
    image_z, image_y, image_x = in_image
    return (z, y, x), (image_z, image_y, image_x)


def num_voxels_inside(start: Start, patch_zyx: Shape, box: SpatialBox) -> int:
    """How many voxels of the window at `start` lie inside the box (image rather than padding)."""
    return math.prod(
        max(0, min(first + length, inside.stop) - max(first, inside.start))
        for first, length, inside in zip(start, patch_zyx, box, strict=True)
    )
