"""The part of an image that the fine network has to see (F72). Axes are the transposed ones.

Boxes are half-open (start, stop) per axis; "native" ones count voxels of the image.
"""

import math
from dataclasses import dataclass

import numpy as np

from segduet.core.plan import ConfigurationPlan
from segduet.core.prepared import Box, Placement
from segduet.preparation.boxes import box_shape, widened
from segduet.preparation.cropping import box_slices
from segduet.preparation.resampling import Spacing, prepared_shape
from segduet.windows.tiles import Shape, padded_to_patch, tile_starts

_MANY = 10**6

#: An axis, and whether it is the face at its end.
Face = tuple[int, bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionRule:
    """How a region follows from a coarse label map.

    Attributes:
        least_share: connected parts of a label count where they hold at least this share of the
            voxels of its largest part; smaller ones are taken for noise.
        margin_mm: around the parts, but at least two voxels of the coarse grid.
    """

    least_share: float = 0.05
    margin_mm: float = 10.0


def foreground_box(label_map: np.ndarray, rule: RegionRule) -> Box | None:
    """Smallest box with every part of every label that counts.

    Args:
        label_map: (Z, Y, X) integers, 0 for background.
        rule: which parts count.

    Returns:
        In voxels of the label map; None where there is no foreground.
    """
    from scipy import ndimage

    parts: list[Box] = []
    for value, part in enumerate(ndimage.find_objects(label_map), 1):
        if part is not None:
            parts += _large_parts(label_map[part] == value, part, rule.least_share)
    if not parts:
        return None
    z, y, x = (
        (min(part[axis][0] for part in parts), max(part[axis][1] for part in parts))
        for axis in range(3)
    )
    return (z, y, x)


def _large_parts(mask: np.ndarray, where: tuple[slice, ...], least_share: float) -> list[Box]:
    """Boxes of the connected parts of a mask, which lies there in the whole, that count."""
    from scipy import ndimage

    numbered, num_parts = ndimage.label(mask)
    sizes = np.bincount(numbered.ravel(), minlength=num_parts + 1)[1:]
    boxes: list[Box] = []
    for part, size in zip(ndimage.find_objects(numbered), sizes, strict=True):
        if size >= least_share * sizes.max():
            z, y, x = (
                (within.start + inner.start, within.start + inner.stop)
                for within, inner in zip(where, part, strict=True)
            )
            boxes.append((z, y, x))
    return boxes


def native_region(
    found: Box, placement: Placement, rule: RegionRule, *, patch: Shape, limits: Box
) -> Box:
    """A box of a coarse prepared grid in the image, with its margin.

    Along an axis where up to half of the margin keeps it from being a single window, it goes
    without that part.

    Args:
        found: on the prepared grid.
        placement: how that grid lies in the image.
        rule: gives the margin.
        patch: native voxels of a window of the fine network.
        limits: native box in which the region must stay.
    """
    crop, spacing = placement.crop_box, placement.transposed_spacing_mm
    scales = [
        (stop - start) / length
        for (start, stop), length in zip(crop, placement.prepared_shape, strict=True)
    ]
    z, y, x = (
        (low + math.floor(start * scale), min(low + math.ceil(stop * scale), high))
        for (start, stop), (low, high), scale in zip(found, crop, scales, strict=True)
    )
    first, second, third = (
        math.ceil(max(rule.margin_mm / mm, 2 * scale))
        for mm, scale in zip(spacing, scales, strict=True)
    )
    region = widened((z, y, x), (first, second, third), limits)
    axes = zip((z, y, x), region, patch, strict=True)
    z, y, x = (_trimmed(inner, outer, length) for inner, outer, length in axes)
    return (z, y, x)


def _trimmed(inner: tuple[int, int], outer: tuple[int, int], length: int) -> tuple[int, int]:
    """An axis of a region, cut to a length where its margins lose no more than half by that."""
    below, above = inner[0] - outer[0], outer[1] - inner[1]
    excess = outer[1] - outer[0] - length
    if not 0 < excess <= (below + above) // 2:
        return outer
    first = outer[0] + round(excess * below / (below + above))
    return first, first + length


def native_patch(configuration: ConfigurationPlan, spacing: Spacing) -> Shape:
    """Most native voxels along each axis that still become a single window of the network.

    Args:
        configuration: of the network.
        spacing: of the image, in mm.
    """
    # what a million voxels become tells the scale without its rounding
    many = prepared_shape((_MANY, _MANY, _MANY), spacing, configuration)
    # sizes are rounded: up to half a voxel more than the patch becomes the patch
    z, y, x = (
        max(1, math.floor((length + 0.499) * _MANY / new))
        for length, new in zip(configuration.patch_size_zyx, many, strict=True)
    )
    return (z, y, x)


def num_windows(
    region: Box, configuration: ConfigurationPlan, spacing: Spacing, step: float
) -> int:
    """How many windows of the network a native region takes.

    Args:
        region: native box.
        configuration: of the network.
        spacing: of the image, in mm.
        step: distance between windows as a share of the patch.
    """
    patch = configuration.patch_size_zyx
    shape = prepared_shape(box_shape(region), spacing, configuration)
    padded, _ = padded_to_patch(shape, patch)
    return len(tile_starts(padded, patch, step))


def touched_faces(label_map: np.ndarray, region: Box, limits: Box) -> list[Face]:
    """Faces of the region that foreground touches, where the image goes on behind them.

    Args:
        label_map: (Z, Y, X) integers of the whole image, transposed; 0 for background.
        region: native box.
        limits: native box beyond which there is nothing to see.
    """
    inside = label_map[box_slices(region)]
    faces = []
    for axis, ((start, stop), (low, high)) in enumerate(zip(region, limits, strict=True)):
        if start > low and inside.take(0, axis).any():
            faces.append((axis, False))
        if stop < high and inside.take(-1, axis).any():
            faces.append((axis, True))
    return faces


def grown_at(region: Box, faces: list[Face], by: Shape, limits: Box) -> Box:
    """The region, moved outwards at some of its faces.

    Args:
        region: native box.
        faces: which ones.
        by: voxels along each axis.
        limits: how far.
    """
    z, y, x = (
        (
            max(start - by[axis], low) if (axis, False) in faces else start,
            min(stop + by[axis], high) if (axis, True) in faces else stop,
        )
        for axis, ((start, stop), (low, high)) in enumerate(zip(region, limits, strict=True))
    )
    return (z, y, x)
