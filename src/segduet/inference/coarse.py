"""A look at an image through a network of low resolution (F72)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from segduet.core.labels import LabelScheme
from segduet.core.plan import ConfigurationPlan, Plan
from segduet.core.prepared import Box, Placement
from segduet.core.volume import Volume
from segduet.inference.engine import Member
from segduet.inference.prepared_answer import mean_slabs
from segduet.inference.settings import PredictionSettings
from segduet.inference.window_pass import window_passes
from segduet.preparation.prepare import prepare_case


@dataclass(frozen=True, slots=True, kw_only=True)
class CoarseLook:
    """What a coarse network sees.

    Attributes:
        label_map: (Z, Y, X) uint8 on its own prepared grid.
        placement: how that grid lies in the image.
    """

    label_map: np.ndarray
    placement: Placement


def look_coarsely(
    members: Sequence[Member],
    volume: Volume,
    *,
    case: str,
    plan: Plan,
    configuration: ConfigurationPlan,
    labels: LabelScheme,
    settings: PredictionSettings,
    region: Box,
) -> CoarseLook:
    """Label map of an image on the grid of a coarse configuration, not resampled any further.

    Args:
        members: one, or one per fold, that segment; their logits are averaged.
        volume: the image.
        case: case id.
        plan: what the coarse networks were trained with.
        configuration: theirs.
        labels: what their segmentation channels mean.
        settings: how to predict.
        region: the part of the image to look at, as in `prepare_case`.

    Raises:
        DataError: the image does not fit the plan, or a network's answers are not finite.
        RequestError: the device has not enough memory.
    """
    prepared = prepare_case(
        volume, None, case=case, plan=plan, configuration=configuration, region=region
    )
    passes = window_passes(
        members, prepared, patch_zyx=configuration.patch_size_zyx, settings=settings
    )
    slabs = mean_slabs([windows.slabs() for windows in passes])
    label_map = np.concatenate([labels.decode(slab) for slab in slabs])
    return CoarseLook(label_map=label_map, placement=prepared.placement)
