"""Boxes of voxels: half-open (start, stop) along z, y and x."""

from segduet.core.prepared import Box

Shape = tuple[int, int, int]


def box_shape(box: Box) -> Shape:
    """Voxels along each axis."""
    z, y, x = (stop - start for start, stop in box)
    return (z, y, x)


def whole_box(shape: Shape) -> Box:
    """The box of all voxels of an array."""
    z, y, x = ((0, length) for length in shape)
    return (z, y, x)


def relative_box(part: Box, whole: Box) -> Box:
    """Where a part of a box lies in an array that holds the whole box.

    Args:
        part: within `whole`.
        whole: the box that the array holds.
    """
    axes = list(zip(part, whole, strict=True))
    assert all(low <= start < stop <= high for (start, stop), (low, high) in axes), (part, whole)
    z, y, x = ((start - low, stop - low) for (start, stop), (low, _) in axes)
    return (z, y, x)


def absolute_box(part: Box, whole: Box) -> Box:
    """The inverse of `relative_box`."""
    z, y, x = (
        (start + low, stop + low) for (start, stop), (low, _) in zip(part, whole, strict=True)
    )
    return (z, y, x)


def widened(box: Box, margins: Shape, limits: Box) -> Box:
    """The box with so many more voxels on both sides of each axis, as far as the limits go."""
    axes = zip(box, margins, limits, strict=True)
    z, y, x = (
        (max(start - margin, low), min(stop + margin, high))
        for (start, stop), margin, (low, high) in axes
    )
    return (z, y, x)


def at_least(box: Box, shape: Shape, limits: Box) -> Box:
    """The box, grown around its centre to at least a shape, or to the limits where they are closer.

    Args:
        box: within the limits.
        shape: least voxels along each axis.
        limits: where it must stay; it is moved inwards where it would reach out.
    """
    z, y, x = (
        _at_least(start, stop, length, low, high)
        for (start, stop), length, (low, high) in zip(box, shape, limits, strict=True)
    )
    return (z, y, x)


def _at_least(start: int, stop: int, length: int, low: int, high: int) -> tuple[int, int]:
    length = min(max(stop - start, length), high - low)
    first = start - (length - (stop - start)) // 2
    first = min(max(first, low), high - length)
    return first, first + length
