"""The first stage of a cascade: a label map for the second stage's network (F14)."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from segduet.core.labels import LabelScheme
from segduet.core.plan import ConfigurationPlan, Plan
from segduet.core.volume import Volume
from segduet.inference.engine import Member
from segduet.inference.predictor import PredictionSettings, predict_prepared
from segduet.inference.prepared_answer import ensemble
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

    Returns:
        (Z, Y, X) int16.

    Raises:
        DataError: the image does not fit the plan, or a network's answers are not finite.
        RequestError: the device has not enough memory.
    """
    prepared = prepare_case(volume, None, case=case, plan=plan, configuration=configuration)
    answer = ensemble(
        predict_prepared(
            member.engine,
            prepared,
            patch_zyx=configuration.patch_size_zyx,
            tasks=member.tasks,
            settings=dataclasses.replace(settings, keep_attention=False),
        )
        for member in members
    )
    return decide_on_next_grid(
        answer.logits,
        placement=prepared.placement,
        configuration=configuration,
        next_configuration=next_configuration,
        labels=labels,
    )
