"""Both answers for one case: windows through an engine, put together (F63-F66).

K segmentation heads; arrays on the prepared grid are (K, Z, Y, X).
"""

import dataclasses
import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from segduet.core.errors import RequestError
from segduet.core.labels import LabelScheme
from segduet.core.plan import ConfigurationPlan, Plan
from segduet.core.prediction import Prediction
from segduet.core.prepared import PreparedCase
from segduet.core.tasks import TaskSpec
from segduet.core.volume import Volume
from segduet.inference.aggregation import Aggregation
from segduet.inference.answering import answer_case
from segduet.inference.collecting import CollectedAnswers, WindowCutter
from segduet.inference.engine import Engine, Member
from segduet.inference.mirroring import attend_mirrored, mirror_combinations, predict_mirrored
from segduet.inference.prepared_answer import PreparedAnswer, ensemble
from segduet.inference.shares import WindowShares
from segduet.preparation.cascade import with_previous_stage
from segduet.preparation.prepare import prepare_case
from segduet.windows.tiles import (
    Shape,
    Start,
    num_voxels_inside,
    pad_to_patch,
    tile_starts,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionSettings:
    """How a case is predicted; the defaults are nnU-Net's, without mirroring.

    Attributes:
        step: distance between windows as a share of the patch, in (0, 1].
        mirror_axes: spatial axes of the network to mirror along, as in an nnU-Net checkpoint; None
            and () both mean no mirroring.
        aggregation: how windows answer for their case.
        tile_batch: windows per engine call, at least 1.
        keep_attention: whether to keep where the heads look: a second pass through the network,
            as the weights depend on the whole case, and one more array per task.

    Raises:
        RequestError: step or tile_batch is out of range, or attention is asked for where every
            window attends by itself.
    """

    step: float = 0.5
    mirror_axes: tuple[int, ...] | None = ()
    aggregation: Aggregation = Aggregation.CASE
    tile_batch: int = 1
    keep_attention: bool = False

    def __post_init__(self) -> None:
        if not (0 < self.step <= 1 and self.tile_batch >= 1):
            raise RequestError(
                "prediction settings",
                found=f"step {self.step}, tile batch {self.tile_batch}",
                expected="a step above 0 and at most 1, a batch of at least 1",
                remedy="Correct the setting.",
            )
        if self.keep_attention and self.aggregation is not Aggregation.CASE:
            raise RequestError(
                "prediction settings",
                found=f"attention maps with the aggregation {self.aggregation}",
                expected="the aggregation case, where one answer attends to the whole case",
                remedy="Leave out one of the two.",
            )


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

    Raises:
        DataError: the image does not fit the plan, a network's answers are not finite, or a
            network does not answer exactly its tasks.
        RequestError: the settings do not fit the network, or the device has not enough memory.
    """
    clock = _Stopwatch()
    prepared = prepare_case(volume, None, case=case, plan=plan, configuration=configuration)
    if previous is not None:
        prepared = with_previous_stage(prepared, previous, labels)
    clock.lap("prepare")
    answer = ensemble(
        predict_prepared(
            member.engine,
            prepared,
            patch_zyx=configuration.patch_size_zyx,
            tasks=member.tasks,
            settings=settings,
        )
        for member in members
    )
    clock.lap("network")
    prediction = answer.on_native_grid(prepared, configuration=configuration, labels=labels)
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
    """Both answers of one network for a prepared case, from the same pass over its windows.

    Raises:
        DataError: the network's answers are not finite, or not to exactly these tasks.
        RequestError: a mirror axis the network does not have, or not enough memory.
    """
    combinations = mirror_combinations(settings.mirror_axes, engine.num_spatial_dims)
    image, box = pad_to_patch(prepared.image, patch_zyx)
    starts = tile_starts(_spatial(image), patch_zyx, settings.step)
    shares = None
    if settings.aggregation is Aggregation.CASE:
        shares = WindowShares.of_tiling(_spatial(image), patch_zyx, settings.step, box)
    cutter = WindowCutter(image, patch_zyx, shares)
    collected = CollectedAnswers(_spatial(image), patch_zyx)
    for batch in _in_batches(starts, settings.tile_batch):
        windows = cutter.windows(batch)
        collected.add(batch, predict_mirrored(engine, windows, combinations, where=prepared.case))
    image_voxels = np.array([num_voxels_inside(start, patch_zyx, box) for start in starts])
    known = collected.knowledge(image_voxels)
    said = answer_case(engine, known, tasks, settings.aggregation)
    attention: dict[str, np.ndarray] = {}
    for batch in _in_batches(starts if settings.keep_attention else (), settings.tile_batch):
        maps = attend_mirrored(engine, cutter.windows(batch), combinations, known.case_sums)
        cutter.put_together(attention, batch, maps)
    return PreparedAnswer(
        logits=collected.logits()[:, *box],
        probabilities=said.probabilities,
        evidence=said.evidence,
        features=said.features,
        attention={task: whole[box] for task, whole in attention.items()},
    )


def _spatial(image: np.ndarray) -> Shape:
    z, y, x = image.shape[1:]
    return (z, y, x)


def _in_batches(starts: Sequence[Start], size: int) -> Iterator[list[Start]]:
    remaining = iter(starts)
    while batch := list(itertools.islice(remaining, size)):
        yield batch


class _Stopwatch:
    """Seconds between one lap and the next, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        """Books the time since the last lap under `stage`."""
        now = time.perf_counter()
        self.seconds[stage] = now - self._last
        self._last = now
