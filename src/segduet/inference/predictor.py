"""Both answers for one case: windows through its networks, put together (F63-F66).

K segmentation heads. The case is worked off from its first slice to its last: slices are brought to
the native grid and decided as soon as no window reaches them any more, so that the logits of the
whole case never exist at once (B15).
"""

import dataclasses
import time
from collections.abc import Sequence

import numpy as np

from segduet.core.labels import LabelScheme
from segduet.core.plan import ConfigurationPlan, Plan
from segduet.core.prediction import Prediction
from segduet.core.prepared import Box, PreparedCase
from segduet.core.tasks import TaskSpec
from segduet.core.volume import Volume
from segduet.inference.engine import Engine, Member
from segduet.inference.prepared_answer import (
    PreparedAnswer,
    mean_answers,
    mean_slabs,
    native_prediction,
)
from segduet.inference.settings import PredictionSettings
from segduet.inference.window_pass import WindowPass, put_together, window_passes
from segduet.preparation.cascade import with_previous_stage
from segduet.preparation.prepare import prepare_case
from segduet.preparation.restore import LabelMapRestorer
from segduet.windows.tiles import Shape


def predict_case(
    members: Sequence[Member],
    volume: Volume,
    *,
    case: str,
    plan: Plan,
    configuration: ConfigurationPlan,
    labels: LabelScheme,
    settings: PredictionSettings,
    previous: np.ndarray | None = None,
    region: Box | None = None,
) -> Prediction:
    """Label map and class probabilities of one image, on its own grid.

    Args:
        members: one, or one per fold: their logits and their answers are averaged.
        volume: the image.
        case: case id.
        plan: what the networks were trained with.
        configuration: the configuration they were trained in.
        labels: what their segmentation channels mean.
        settings: how to predict.
        previous: (Z, Y, X) integers, what the stage before made of the image, see
            `predict_for_next_stage`; None outside a cascade's second stage.
        region: the part of the image to look at, as in `prepare_case`; outside is background.

    Raises:
        DataError: the image does not fit the plan, a network's answers are not finite, or a
            network does not answer exactly its tasks.
        RequestError: the settings do not fit the network, or the device has not enough memory.
    """
    clock = _Stopwatch()
    prepared = prepare_case(
        volume, None, case=case, plan=plan, configuration=configuration, region=region
    )
    if previous is not None:
        prepared = with_previous_stage(prepared, previous, labels)
    clock.lap("prepare")
    passes = window_passes(
        members, prepared, patch_zyx=configuration.patch_size_zyx, settings=settings
    )
    restorer = LabelMapRestorer(
        placement=prepared.placement, configuration=configuration, labels=labels
    )
    is_segmented = False
    for slab in mean_slabs([windows.slabs() for windows in passes]):
        clock.lap("network")
        if len(slab):
            is_segmented = True
            restorer.add(slab)
        clock.lap("restore")
    said = mean_answers([windows.answers() for windows in passes])
    clock.lap("network")
    label_map = restorer.finish() if is_segmented else None
    prediction = native_prediction(said, label_map, prepared, configuration)
    clock.lap("restore")
    return dataclasses.replace(prediction, seconds=clock.seconds)


def predict_prepared(
    engine: Engine,
    prepared: PreparedCase,
    *,
    patch_zyx: Shape,
    tasks: Sequence[TaskSpec],
    settings: PredictionSettings,
) -> PreparedAnswer:
    """Both answers of one network for a prepared case, with the logits of the whole case.

    Raises:
        DataError: the network's answers are not finite, or not to exactly these tasks.
        RequestError: a mirror axis the network does not have, or not enough memory.
    """
    windows = WindowPass(engine, prepared, patch_zyx=patch_zyx, tasks=tasks, settings=settings)
    logits = put_together(windows.slabs(), prepared.placement.prepared_shape)
    return PreparedAnswer(logits=logits, said=windows.answers())


class _Stopwatch:
    """Seconds spent on each stage, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        """Books the time since the last lap under `stage`, to what it has already."""
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
        self._last = now
