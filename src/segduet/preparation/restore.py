"""Logits on the prepared grid -> label map on the user's grid."""

from collections.abc import Iterator

import numpy as np

from segduet.core.labels import LabelScheme
from segduet.core.plan import ConfigurationPlan
from segduet.core.prepared import Placement
from segduet.preparation.cropping import box_slices
from segduet.preparation.resampling import Grids, ResamplingRule, axis_matrices, multiply_along

#: Output slices decoded at a time: few enough for the processor's cache.
_SLAB = 8


def restore_label_map(
    logits: np.ndarray,
    *,
    placement: Placement,
    configuration: ConfigurationPlan,
    labels: LabelScheme,
) -> np.ndarray:
    """Resamples logits to the native grid, decodes them, and undoes crop and transpose.

    Logits are resampled before they are decoded, as in nnU-Net, but slab by slab: the full-size
    logits of all channels never exist at once.

    Args:
        logits: (K, Z, Y, X) float32 on the prepared grid.
        placement: how the prepared grid lies in the native one.
        configuration: gives the prepared spacing and the resampling of logits.
        labels: how logits are decoded.

    Returns:
        (Z, Y, X) uint8 on the native grid; background outside the crop.

    Raises:
        DataError: the plan asks for a resampling we do not implement.
    """
    assert logits.shape == (labels.num_segmentation_heads, *placement.prepared_shape)
    rule = ResamplingRule.of(configuration, "probabilities", where="plan")
    whole = np.zeros(placement.transposed_shape, np.uint8)
    inside = whole[box_slices(placement.crop_box)]
    grids = Grids.of_preparation(placement, configuration).reverse
    for start, slab in resampled_slabs(logits, grids, rule):
        inside[start : start + slab.shape[1]] = labels.decode(slab)
    return np.ascontiguousarray(whole.transpose(placement.transpose_backward))


def restore_map(
    values: np.ndarray, *, placement: Placement, configuration: ConfigurationPlan
) -> np.ndarray:
    """Brings a density, such as where a head looks, to the native grid.

    It is resampled as logits are, then scaled so that its sum stays what it was.

    Args:
        values: (Z, Y, X) float32 >= 0 on the prepared grid, not all 0.
        placement: how the prepared grid lies in the native one.
        configuration: gives the prepared spacing and the resampling.

    Returns:
        (Z, Y, X) float32 >= 0 on the native grid; 0 outside the crop.

    Raises:
        DataError: the plan asks for a resampling we do not implement.
    """
    rule = ResamplingRule.of(configuration, "probabilities", where="plan")
    whole = np.zeros(placement.transposed_shape, np.float32)
    inside = whole[box_slices(placement.crop_box)]
    grids = Grids.of_preparation(placement, configuration).reverse
    for start, slab in resampled_slabs(values[None], grids, rule):
        inside[start : start + slab.shape[1]] = slab[0].clip(0)
    whole *= values.sum(dtype=np.float64) / whole.sum(dtype=np.float64)
    return np.ascontiguousarray(whole.transpose(placement.transpose_backward))


def resampled_slabs(
    logits: np.ndarray, grids: Grids, rule: ResamplingRule
) -> Iterator[tuple[int, np.ndarray]]:
    """Pairs of first slice and (K, slices, Y, X) logits on the new grid, a few slices at a time."""
    starts = range(0, grids.new_shape[0], _SLAB)
    if rule.is_off or grids.old_shape == grids.new_shape:
        yield from ((start, logits[:, start : start + _SLAB]) for start in starts)
        return
    along_z, along_y, along_x = axis_matrices(grids, rule)
    for start in starts:
        rows = along_z[start : start + _SLAB]
        used = np.flatnonzero(rows.any(axis=0))
        source = slice(used[0], used[-1] + 1)
        slab = np.empty((len(logits), len(rows), *grids.new_shape[1:]), np.float32)
        for target, channel in zip(slab, logits, strict=True):
            thick = multiply_along(channel[source], rows[:, source], 0)
            target[...] = multiply_along(multiply_along(thick, along_y, 1), along_x, 2)
        yield start, slab
