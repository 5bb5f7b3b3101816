"""Resampling as nnU-Net's `resample_data_or_seg_to_shape`, one matrix per axis. Axes are z, y, x.

Spline interpolation on a regular grid is separable and linear, so an image is resampled by one
(new, old) matrix per axis. The matrices come from scipy's own zoom of unit impulses; products of
matrices replace its voxel loop. A weight falls off by 3.7 with every voxel of distance, so that
only blocks along the diagonal need be multiplied.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, Self

import numpy as np

from segduet.core.errors import DataError
from segduet.core.plan import ConfigurationPlan
from segduet.core.prepared import Placement
from segduet.core.threads import for_each
from segduet.preparation.axis_matrix import AxisMatrix

Shape = tuple[int, int, int]
Spacing = tuple[float, float, float]
SplineOrder = Literal[0, 1, 2, 3, 4, 5]

#: Spacing ratio above which nnU-Net resamples the coarse axis on its own.
_ANISOTROPY_THRESHOLD = 3.0

#: New slices made together: few enough to stay in the processor's cache between the axes.
_SLICES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ResamplingRule:
    """How one kind of array is resampled, as the plan says.

    Attributes:
        order: spline order within slices (everywhere, if no axis is separate).
        force_separate_z: whether the coarsest axis is resampled on its own, by its nearest slice;
            None decides by anisotropy.
        threshold: anisotropy above which None means yes.
        is_off: arrays stay as they are.
    """

    order: SplineOrder
    force_separate_z: bool | None = None
    threshold: float = _ANISOTROPY_THRESHOLD
    is_off: bool = False

    @classmethod
    def of(
        cls,
        configuration: ConfigurationPlan,
        kind: Literal["data", "seg", "probabilities"],
        *,
        where: str,
    ) -> Self:
        """Reads the plan's `resampling_fn_<kind>` and its arguments.

        Raises:
            DataError: a function or an argument we do not implement.
        """
        name: str = getattr(configuration, f"resampling_fn_{kind}")
        arguments: Mapping[str, Any] = getattr(configuration, f"resampling_fn_{kind}_kwargs")
        if name == "no_resampling_hack":
            return cls(order=0, is_off=True)
        known = {
            "is_seg",
            "order",
            "order_z",
            "force_separate_z",
            "separate_z_anisotropy_threshold",
        }
        is_known = name == "resample_data_or_seg_to_shape" and known.issuperset(arguments)
        if not is_known or arguments.get("order_z", 0) != 0:
            raise DataError(
                where,
                found=f"resampling by {name!r} with {dict(arguments)}",
                expected="resample_data_or_seg_to_shape with order_z 0, or no_resampling_hack",
                remedy="Plan again with one of segduet's planners.",
            )
        return cls(
            order=arguments.get("order", 3),
            force_separate_z=arguments.get("force_separate_z", False),
            threshold=arguments.get("separate_z_anisotropy_threshold", _ANISOTROPY_THRESHOLD),
        )

    def separate_axis(self, old_spacing: Spacing, new_spacing: Spacing) -> int | None:
        """The axis resampled on its own, if any: the single coarsest one of an anisotropic grid."""
        if self.force_separate_z is None:
            grids = [s for s in (old_spacing, new_spacing) if max(s) / min(s) > self.threshold]
        else:
            grids = [old_spacing] if self.force_separate_z else []
        if not grids:
            return None
        coarse = [axis for axis in range(3) if grids[0][axis] == max(grids[0])]
        return coarse[0] if len(coarse) == 1 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Grids:
    """From which grid to which an array is resampled: shapes and spacings (mm)."""

    old_shape: Shape
    new_shape: Shape
    old_spacing: Spacing
    new_spacing: Spacing

    @classmethod
    def of_preparation(cls, placement: Placement, configuration: ConfigurationPlan) -> Self:
        """From the cropped native grid to the prepared one."""
        old_spacing = placement.transposed_spacing_mm
        return cls(
            old_shape=placement.cropped_shape,
            new_shape=placement.prepared_shape,
            old_spacing=old_spacing,
            new_spacing=prepared_spacing(configuration, old_spacing),
        )

    @property
    def reverse(self) -> Self:
        """The way back."""
        return type(self)(
            old_shape=self.new_shape,
            new_shape=self.old_shape,
            old_spacing=self.new_spacing,
            new_spacing=self.old_spacing,
        )


def prepared_spacing(configuration: ConfigurationPlan, old_spacing: Spacing) -> Spacing:
    """Spacing the configuration asks for; a 2D one keeps the distance of the slices."""
    z, y, x = (old_spacing[0], *configuration.spacing)[-3:]
    return (z, y, x)


def resampled_shape(old_shape: Shape, old_spacing: Spacing, new_spacing: Spacing) -> Shape:
    """Shape at the new spacing, rounded half to even; never less than one voxel."""
    scaled = zip(old_shape, old_spacing, new_spacing, strict=True)
    z, y, x = (max(1, round(old / new * size)) for size, old, new in scaled)
    return (z, y, x)


def prepared_shape(
    native_shape: Shape, native_spacing: Spacing, configuration: ConfigurationPlan
) -> Shape:
    """Shape that an image, or a part of one, has in a configuration; axes are the transposed ones.

    Raises:
        DataError: the plan asks for a resampling we do not implement.
    """
    if ResamplingRule.of(configuration, "data", where="plan").is_off:
        return native_shape
    spacing = prepared_spacing(configuration, native_spacing)
    return resampled_shape(native_shape, native_spacing, spacing)


def resample_image(image: np.ndarray, grids: Grids, rule: ResamplingRule) -> np.ndarray:
    """Resamples every channel; values stay within those of the slice (or volume) they came from.

    Args:
        image: (C, Z, Y, X) float32 of `grids.old_shape`.
        grids: the old and the new grid.
        rule: how images are resampled.

    Returns:
        (C, Z, Y, X) float32 of `grids.new_shape`; the same array where nothing is to be done.
    """
    if rule.is_off or grids.old_shape == grids.new_shape:
        return image
    resampled = np.empty((len(image), *grids.new_shape), np.float32)
    separate = rule.separate_axis(grids.old_spacing, grids.new_spacing)
    matrices = list(axis_matrices(grids, rule))
    for channel, target in zip(image, resampled, strict=True):
        if separate is None:
            _resample_volume(channel, target, matrices)
        else:
            in_plane = matrices[:separate] + matrices[separate + 1 :]
            slices, new_slices = (np.moveaxis(a, separate, 0) for a in (channel, target))
            _resample_slices(slices, new_slices, in_plane)
    return resampled


def _resample_volume(
    channel: np.ndarray, target: np.ndarray, matrices: Sequence[AxisMatrix]
) -> None:
    low, high = channel.min(), channel.max()
    along_z, along_y, along_x = matrices

    def resample(start: int) -> None:
        rows = slice(start, min(start + _SLICES, len(target)))
        thick = along_z.combined(channel[along_z.sources(rows)], rows)
        # Splines of order > 1 overshoot at edges
        np.clip(along_x.along_x(along_y.along_y(thick)), low, high, out=target[rows])

    for_each(resample, range(0, len(target), _SLICES))


def _resample_slices(
    slices: np.ndarray, new_slices: np.ndarray, matrices: Sequence[AxisMatrix]
) -> None:
    """Every slice on its own; a new slice is the nearest old one."""
    nearest = _nearest_indices(len(slices), len(new_slices))
    along_y, along_x = matrices

    def resample(index: int) -> None:
        old = slices[index : index + 1]
        new = along_x.along_x(along_y.along_y(old))
        new_slices[nearest == index] = np.clip(new, old.min(), old.max())

    for_each(resample, np.unique(nearest).tolist())


def axis_matrices(grids: Grids, rule: ResamplingRule) -> tuple[AxisMatrix, AxisMatrix, AxisMatrix]:
    """Interpolation along z, y and x."""
    separate = rule.separate_axis(grids.old_spacing, grids.new_spacing)
    z, y, x = (
        _nearest_matrix(old, new) if axis == separate else _spline_matrix(old, new, rule.order)
        for axis, (old, new) in enumerate(zip(grids.old_shape, grids.new_shape, strict=True))
    )
    return z, y, x


@lru_cache(maxsize=32)
def _spline_matrix(old: int, new: int, order: SplineOrder) -> AxisMatrix:
    if old == new:
        return AxisMatrix(np.eye(old, dtype=np.float32))
    columns = [_resize(impulse, (new,), order) for impulse in np.eye(old)]
    return AxisMatrix(np.stack(columns, axis=1).astype(np.float32))


def _nearest_matrix(old: int, new: int) -> AxisMatrix:
    return AxisMatrix(np.eye(old, dtype=np.float32)[_nearest_indices(old, new)])


def _nearest_indices(old: int, new: int) -> np.ndarray:
    from scipy import ndimage

    positions = old / new * (np.arange(new) + 0.5) - 0.5
    nearest = ndimage.map_coordinates(np.arange(float(old)), [positions], order=0, mode="nearest")
    return nearest.astype(np.intp)


def _resize(array: np.ndarray, shape: Sequence[int], order: SplineOrder) -> np.ndarray:
    """Spline resize that aligns the borders of the grids, as skimage's with mode "edge"."""
    from scipy import ndimage  # takes longer to import than most cases to prepare

    factors = [new / old for new, old in zip(shape, array.shape, strict=True)]
    return ndimage.zoom(array, factors, order=order, mode="nearest", grid_mode=True)


def resample_label_map(label_map: np.ndarray, grids: Grids, rule: ResamplingRule) -> np.ndarray:
    """Resamples labels: the one whose interpolated indicator is largest wins.

    Where two labels draw level, the nearest voxel's label is taken if it is among them, otherwise
    the smallest. Ties are decided in float64 by scipy's own zoom, so that they fall as in nnU-Net.

    Args:
        label_map: (Z, Y, X) integers of `grids.old_shape`.
        grids: the old and the new grid.
        rule: how label maps are resampled.

    Returns:
        (Z, Y, X) of the same dtype and `grids.new_shape`.
    """
    if rule.is_off or grids.old_shape == grids.new_shape:
        return label_map
    axis = rule.separate_axis(grids.old_spacing, grids.new_spacing)
    if axis is None:
        return _resize_labels(label_map, grids.new_shape, rule.order)
    in_plane = [size for other, size in enumerate(grids.new_shape) if other != axis]
    slices = np.moveaxis(label_map, axis, 0)
    resized = np.stack([_resize_labels(s, in_plane, rule.order) for s in slices], axis=axis)
    return resized.take(_nearest_indices(grids.old_shape[axis], grids.new_shape[axis]), axis=axis)


def _resize_labels(labels: np.ndarray, shape: Sequence[int], order: SplineOrder) -> np.ndarray:
    values = np.unique(labels)
    if values.size == 1:
        return np.full(shape, values[0], dtype=labels.dtype)
    nearest = _resize(labels.astype(np.float64), shape, 0).astype(labels.dtype)
    winner = np.full(shape, values[0], dtype=labels.dtype)
    best, of_nearest = np.full(shape, -1.0), np.empty(shape)
    for value in values:
        score = _resize((labels == value).astype(np.float64), shape, order).clip(0, 1)
        np.copyto(winner, value, where=score > best)
        np.maximum(best, score, out=best)
        np.copyto(of_nearest, score, where=nearest == value)
    np.copyto(winner, nearest, where=of_nearest >= best)
    return winner
