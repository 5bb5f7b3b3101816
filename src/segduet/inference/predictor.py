"""Both answers for one case: windows through an engine, put together (F63-F66).

K segmentation heads; arrays on the prepared grid are (K, Z, Y, X).
"""

import dataclasses
import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from segduet.core.errors import DataError, RequestError
from segduet.core.labels import LabelScheme
from segduet.core.plan import ConfigurationPlan, Plan
from segduet.core.prediction import Prediction
from segduet.core.prepared import PreparedCase
from segduet.core.tasks import TaskSpec
from segduet.core.volume import Volume
from segduet.inference.aggregation import Aggregation, WindowVotes, aggregate, total_evidence
from segduet.inference.engine import Engine
from segduet.inference.mirroring import MirroredAnswers, mirror_combinations, predict_mirrored
from segduet.preparation.prepare import prepare_case
from segduet.preparation.restore import restore_label_map
from segduet.windows.accumulation import TileAccumulator
from segduet.windows.tiles import (
    Shape,
    Start,
    num_voxels_inside,
    pad_to_patch,
    region_at,
    tile_starts,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionSettings:
    """How a case is predicted; the defaults are nnU-Net's, without mirroring.

    Attributes:
        step: distance between windows as a share of the patch, in (0, 1].
        mirror_axes: spatial axes of the network to mirror along, as in an nnU-Net checkpoint; None
            and () both mean no mirroring.
        aggregation: how windows are weighed for the case-level answers.
        tile_batch: windows per engine call, at least 1.

    Raises:
        RequestError: step or tile_batch is out of range.
    """

    step: float = 0.5
    mirror_axes: tuple[int, ...] | None = ()
    aggregation: Aggregation = Aggregation.EVIDENCE
    tile_batch: int = 1

    def __post_init__(self) -> None:
        if not (0 < self.step <= 1 and self.tile_batch >= 1):
            raise RequestError(
                "prediction settings",
                found=f"step {self.step}, tile batch {self.tile_batch}",
                expected="a step above 0 and at most 1, a batch of at least 1",
                remedy="Correct the setting.",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedAnswer:
    """Both answers on the prepared grid.

    Attributes:
        logits: (K, Z, Y, X) float32, blended over windows.
        probabilities: task name -> (num_classes,) float64, sums to 1.
        evidence: task name -> predicted voxels of its evidence region, summed over windows.
    """

    logits: np.ndarray
    probabilities: Mapping[str, np.ndarray] = field(default_factory=dict)
    evidence: Mapping[str, float] = field(default_factory=dict)


def predict_case(
    engines: Sequence[Engine],
    volume: Volume,
    *,
    case: str,
    plan: Plan,
    configuration: ConfigurationPlan,
    labels: LabelScheme,
    tasks: Sequence[TaskSpec],
    settings: PredictionSettings,
) -> Prediction:
    """Label map and class probabilities of one image, on its own grid.

    Args:
        engines: one, or one per fold: their logits and their probabilities are averaged.
        volume: the image.
        case: case id.
        plan: what the networks were trained with.
        configuration: the configuration they were trained in.
        labels: what their segmentation channels mean.
        tasks: what they answer about the case; may be empty.
        settings: how to predict.

    Raises:
        DataError: the image does not fit the plan, a network's answers are not finite, or a
            network does not answer exactly these tasks.
        RequestError: the settings do not fit the network, or the device has not enough memory.
    """
    clock = _Stopwatch()
    prepared = prepare_case(volume, None, case=case, plan=plan, configuration=configuration)
    clock.lap("prepare")
    patch = configuration.patch_size_zyx
    answer = _ensemble(
        _checked(predict_prepared(engine, prepared, patch_zyx=patch, settings=settings), tasks)
        for engine in engines
    )
    clock.lap("network")
    label_map = restore_label_map(
        answer.logits, placement=prepared.placement, configuration=configuration, labels=labels
    )
    clock.lap("restore")
    return Prediction(
        case=case,
        label_map=label_map,
        geometry=volume.geometry,
        probabilities=answer.probabilities,
        evidence=answer.evidence,
        seconds=clock.seconds,
    )


def predict_prepared(
    engine: Engine, prepared: PreparedCase, *, patch_zyx: Shape, settings: PredictionSettings
) -> PreparedAnswer:
    """Both answers of one network for a prepared case, from the same pass over its windows.

    Raises:
        DataError: the network's answers are not finite.
        RequestError: a mirror axis the network does not have, or not enough memory.
    """
    combinations = mirror_combinations(settings.mirror_axes, engine.num_spatial_dims)
    image, box = pad_to_patch(prepared.image, patch_zyx)
    starts = tile_starts(_spatial(image), patch_zyx, settings.step)
    accumulator: TileAccumulator | None = None
    batches: list[MirroredAnswers] = []
    for batch in _in_batches(starts, settings.tile_batch):
        windows = np.stack([image[:, *region_at(start, patch_zyx)] for start in batch])
        answers = predict_mirrored(engine, windows, combinations, where=prepared.case)
        if accumulator is None:
            num_heads = answers.logits.shape[1]
            accumulator = TileAccumulator.in_numpy(num_heads, _spatial(image), patch_zyx)
        for start, logits in zip(batch, answers.logits, strict=True):
            accumulator.add(logits, start)
        # the class answers are kept, a few numbers each; the logits are summed already
        batches.append(dataclasses.replace(answers, logits=answers.logits[:0]))
    assert accumulator is not None, "an image has at least one window"
    image_voxels = np.array([num_voxels_inside(start, patch_zyx, box) for start in starts])
    return _case_answer(batches, image_voxels, accumulator.finish()[:, *box], settings)


def _case_answer(
    batches: Sequence[MirroredAnswers],
    image_voxels: np.ndarray,
    logits: np.ndarray,
    settings: PredictionSettings,
) -> PreparedAnswer:
    votes = {
        task: WindowVotes(
            probabilities=np.concatenate([b.probabilities[task] for b in batches]),
            evidence=np.concatenate([b.evidence[task] for b in batches]),
            image_voxels=image_voxels,
        )
        for task in batches[0].probabilities
    }
    return PreparedAnswer(
        logits=logits,
        probabilities={task: aggregate(v, settings.aggregation) for task, v in votes.items()},
        evidence={task: total_evidence(v) for task, v in votes.items()},
    )


def _ensemble(answers: Iterator[PreparedAnswer]) -> PreparedAnswer:
    """Mean of logits (as nnU-Net), probabilities and evidence; holds two sets of logits at most."""
    total = next(answers)
    num_answers = 1
    for answer in answers:
        num_answers += 1
        total = PreparedAnswer(
            logits=np.add(total.logits, answer.logits, out=total.logits),
            probabilities={t: p + answer.probabilities[t] for t, p in total.probabilities.items()},
            evidence={t: e + answer.evidence[t] for t, e in total.evidence.items()},
        )
    return PreparedAnswer(
        logits=np.divide(total.logits, num_answers, out=total.logits),
        probabilities={t: p / num_answers for t, p in total.probabilities.items()},
        evidence={t: e / num_answers for t, e in total.evidence.items()},
    )


def _checked(answer: PreparedAnswer, tasks: Sequence[TaskSpec]) -> PreparedAnswer:
    wanted = {task.name: len(task.classes) for task in tasks}
    found = {task: len(p) for task, p in answer.probabilities.items()}
    if found != wanted:
        raise DataError(
            "model",
            found=f"a network that answers {found} (task: classes)",
            expected=f"{wanted}, as the model's tasks are declared",
            remedy="Use the model folder the network was trained in.",
        )
    return answer


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
