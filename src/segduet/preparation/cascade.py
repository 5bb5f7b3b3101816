"""From one configuration of a cascade to the next: label maps become input channels (F14).

Source: Isensee et al., Nature Methods 18, 2021, doi 10.1038/s41592-020-01008-z; nnunetv2 2.8.1.
"""

import dataclasses

import numpy as np

from segduet.core.errors import DataError
from segduet.core.labels import LabelScheme
from segduet.core.plan import ConfigurationPlan
from segduet.core.prepared import Placement, PreparedCase
from segduet.preparation.resampling import (
    Grids,
    ResamplingRule,
    prepared_shape,
    prepared_spacing,
)
from segduet.preparation.slabs import SlabResampler


def foreground_values(labels: LabelScheme) -> tuple[int, ...]:
    """Values of a label map that get an input channel each: all but background and ignore.

    Under regions too it is the values that count, as in nnU-Net: a label map cannot say more.
    """
    return tuple(v for v in labels.values if v not in (0, labels.ignore_value))


def num_input_channels(
    configuration: ConfigurationPlan, *, num_image_channels: int, labels: LabelScheme
) -> int:
    """Channels a configuration's network takes: the image's, and a previous stage's labels."""
    fed = foreground_values(labels) if configuration.previous_stage else ()
    return num_image_channels + len(fed)


def with_previous_stage(
    prepared: PreparedCase, previous: np.ndarray, labels: LabelScheme
) -> PreparedCase:
    """The case with a channel of zeros and ones behind its image for every foreground value.

    Args:
        prepared: the case.
        previous: (Z, Y, X) integers, the previous stage's label map on the same grid.
        labels: which values there are.
    """
    assert previous.shape == prepared.placement.prepared_shape, previous.shape
    channels = [(previous == value).astype(np.float32) for value in foreground_values(labels)]
    return dataclasses.replace(prepared, image=np.concatenate([prepared.image, channels]))


def decide_on_next_grid(
    logits: np.ndarray,
    *,
    placement: Placement,
    configuration: ConfigurationPlan,
    next_configuration: ConfigurationPlan,
    labels: LabelScheme,
) -> np.ndarray:
    """Label map on the next stage's prepared grid: logits are resampled, then decided.

    Whether an axis is resampled on its own depends on this stage's spacing alone, as in nnU-Net.

    Args:
        logits: (K, Z, Y, X) float32 on this stage's prepared grid.
        placement: how this stage's grid lies in the native one; both stages crop alike.
        configuration: of this stage; gives the resampling of logits.
        next_configuration: of the next stage; gives its grid.
        labels: how logits are decided.

    Returns:
        (Z, Y, X) int16.

    Raises:
        DataError: the plan asks for a resampling we do not implement.
    """
    spacing = prepared_spacing(configuration, placement.transposed_spacing_mm)
    grids = Grids(
        old_shape=placement.prepared_shape,
        new_shape=prepared_shape(
            placement.cropped_shape, placement.transposed_spacing_mm, next_configuration
        ),
        old_spacing=spacing,
        new_spacing=spacing,
    )
    rule = ResamplingRule.of(configuration, "probabilities", where="plan")
    if rule.is_off and grids.old_shape != grids.new_shape:
        raise DataError(
            "plan",
            found=f"a stage that does not resample, before one of {grids.new_shape} voxels",
            expected=f"the same grid as the first stage's, {grids.old_shape} voxels",
            remedy="Plan again with one of segduet's planners.",
        )
    label_map = np.empty(grids.new_shape, np.int16)
    for slices, channels in SlabResampler(grids, rule).add(logits):
        label_map[slices] = labels.decode(channels)
    return label_map
