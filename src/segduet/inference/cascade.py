"""The first stage of a cascade: a label map for the second stage's network (F14)."""

from collections.abc import Sequence

import numpy as np

from segduet.core.labels import LabelScheme
from segduet.core.plan import ConfigurationPlan, Plan
from segduet.core.prepared import Box
from segduet.core.volume import Volume
from segduet.inference.engine import Member
from segduet.inference.prepared_answer import mean_slabs
from segduet.inference.settings import PredictionSettings
from segduet.inference.window_pass import put_together, window_passes
from segduet.preparation.cascade import decide_on_next_grid
from segduet.preparation.prepare import prepare_case


def predict_for_next_stage(
    members: Sequence[Member],
    volume: Volume,
    *,
    case: str,
    plan: Plan,
    configuration: ConfigurationPlan,
    next_configuration: ConfigurationPlan,
    labels: LabelScheme,
    settings: PredictionSettings,
    region: Box | None = None,
) -> np.ndarray:
    """What the first stage makes of an image, on the grid of the second stage's prepared case.

    Args:
        members: one, or one per fold, that segment; their logits are averaged.
        volume: the image.
        case: case id.
        plan: what both stages were trained with.
        configuration: the first stage's.
        next_configuration: the second stage's.
        labels: what the segmentation channels of both mean.
        settings: how to predict.
        region: the part of the image that both stages look at, as in `prepare_case`.

    Returns:
        (Z, Y, X) int16.

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
    return decide_on_next_grid(
        put_together(slabs, prepared.placement.prepared_shape),
        placement=prepared.placement,
        configuration=configuration,
        next_configuration=next_configuration,
        labels=labels,
    )
