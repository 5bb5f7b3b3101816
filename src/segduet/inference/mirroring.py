"""Test-time mirroring: the mean answer over explicit flips of a window (F66).

Windows are (B, C, Z, Y, X).
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from segduet.core.errors import DataError, RequestError
from segduet.core.finite import is_finite
from segduet.inference.engine import Engine

Axes = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MirroredAnswers:
    """Answers to a batch of windows, averaged over mirrorings.

    Attributes:
        logits: (B, K, Z, Y, X) float32, mean of the logits; of a single pass the engine's own
            memory, there until its next answer.
        sums: task name -> (B, S) float64, mean of the heads' sums.
        evidence: task name -> (B,) float64, mean of the evidence.
    """

    logits: np.ndarray
    sums: Mapping[str, np.ndarray]
    evidence: Mapping[str, np.ndarray]


def mirror_combinations(mirror_axes: Sequence[int] | None, num_spatial_dims: int) -> list[Axes]:
    """Which array axes of (B, C, Z, Y, X) to flip together, one entry per pass; first comes none.

    k axes give 2^k passes. None and an empty sequence both mean a single pass without flips.

    Args:
        mirror_axes: as in an nnU-Net checkpoint: 0 is z for a 3D network, y for a 2D one.
        num_spatial_dims: 2 or 3.

    Raises:
        RequestError: an axis the network does not have, or the same one twice.
    """
    axes = tuple(mirror_axes or ())
    if len(set(axes)) != len(axes) or not set(axes) <= set(range(num_spatial_dims)):
        raise RequestError(
            f"mirror axes {axes}",
            found="an axis that repeats or that the network does not have",
            expected=f"different numbers from 0 to {num_spatial_dims - 1}",
            remedy="Correct the axes, or predict without mirroring.",
        )
    first_array_axis = 5 - num_spatial_dims
    array_axes = [axis + first_array_axis for axis in axes]
    return [
        combination
        for size in range(len(axes) + 1)
        for combination in itertools.combinations(array_axes, size)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowBatch:
    """Windows that go through the network together.

    Attributes:
        image: (B, C, Z, Y, X) float32.
        shares: (B, 1, Z, Y, X) float32 in [0, 1], each voxel's share of its window in the case.
    """

    image: np.ndarray
    shares: np.ndarray

    def flipped(self, axes: Axes) -> "WindowBatch":
        """Both arrays flipped along the axes, contiguous."""
        image, shares = (np.ascontiguousarray(np.flip(a, axes)) for a in (self.image, self.shares))
        return WindowBatch(image=image, shares=shares)


def predict_mirrored(
    engine: Engine,
    windows: WindowBatch,
    combinations: Sequence[Axes],
    *,
    where: str,
) -> MirroredAnswers:
    """Mean answer over the combinations; one engine call, so one encoder pass, for each.

    Args:
        engine: the runtime.
        windows: what to answer.
        combinations: from `mirror_combinations`.
        where: case id, for messages.

    Raises:
        DataError: what a head knows is NaN or infinite.
    """
    total = _flipped_answers(engine, windows, combinations[0], where)
    if len(combinations) == 1:
        return total
    # a copy: an engine may use the memory of its answers again
    logits = np.array(total.logits)
    for axes in combinations[1:]:
        answers = _flipped_answers(engine, windows, axes, where)
        np.add(logits, answers.logits, out=logits)
        total = _sum_of_heads(total, answers)
    share = 1.0 / len(combinations)
    logits *= np.float32(share)
    return MirroredAnswers(
        logits=logits,
        sums={task: v * share for task, v in total.sums.items()},
        evidence={task: v * share for task, v in total.evidence.items()},
    )


def attend_mirrored(
    engine: Engine,
    windows: WindowBatch,
    combinations: Sequence[Axes],
    case_sums: Mapping[str, np.ndarray],
) -> dict[str, np.ndarray]:
    """Where the heads look, mean over the combinations; one more pass through the network each.

    Args:
        engine: the runtime.
        windows: of the case.
        combinations: from `mirror_combinations`.
        case_sums: task name -> (S,), sums of all windows of the case over these combinations.

    Returns:
        Task name -> (B, Z, Y, X) float32 >= 0; over all windows of the case they sum to 1.
    """
    total: dict[str, np.ndarray] = {}
    for axes in combinations:
        batch = windows.flipped(axes)
        without_channels = tuple(axis - 1 for axis in axes)
        for task, weights in engine.attend(batch.image, batch.shares, case_sums).items():
            share = np.flip(weights, without_channels) / np.float32(len(combinations))
            total[task] = total[task] + share if task in total else share
    return total


def _flipped_answers(
    engine: Engine, windows: WindowBatch, axes: Axes, where: str
) -> MirroredAnswers:
    """Answers to flipped windows, flipped back; logits are the engine's own memory.

    Logits are not looked at for NaN here: it survives blending, where each voxel is looked at once.
    """
    batch = windows.flipped(axes)
    answers = engine.predict(batch.image, batch.shares)
    heads = [*answers.sums.values(), *answers.evidence.values()]
    if not all(is_finite(array) for array in heads):
        raise not_finite(engine, where)
    return MirroredAnswers(
        logits=np.flip(answers.logits, axes),
        sums={task: v.astype(np.float64) for task, v in answers.sums.items()},
        evidence={task: v.astype(np.float64) for task, v in answers.evidence.items()},
    )


def _sum_of_heads(a: MirroredAnswers, b: MirroredAnswers) -> MirroredAnswers:
    return MirroredAnswers(
        logits=a.logits,
        sums={task: v + b.sums[task] for task, v in a.sums.items()},
        evidence={task: v + b.evidence[task] for task, v in a.evidence.items()},
    )


def not_finite(engine: Engine, case: str) -> DataError:
    """The error for answers of a network that are NaN or infinite."""
    return DataError(
        f"case {case!r}",
        found=f"NaN or infinite answers from the network (engine {engine.name})",
        expected="finite numbers",
        remedy="Look at the image's intensities; with fp16 try bf16 or fp32.",
    )
