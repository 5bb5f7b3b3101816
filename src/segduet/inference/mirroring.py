"""Test-time mirroring: the mean answer over explicit flips of a window (F66).

Windows are (B, C, Z, Y, X).
"""

import functools
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from segduet.core.errors import DataError, RequestError
from segduet.inference.engine import Engine, WindowAnswers

Axes = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MirroredAnswers:
    """Answers to a batch of windows, averaged over mirrorings.

    Attributes:
        logits: (B, K, Z, Y, X) float32, mean of the logits.
        probabilities: task name -> (B, num_classes) float64, mean of the softmaxes.
        evidence: task name -> (B,) float64, mean of the evidence.
    """

    logits: np.ndarray
    probabilities: Mapping[str, np.ndarray]
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


def predict_mirrored(
    engine: Engine, windows: np.ndarray, combinations: Sequence[Axes], *, where: str
) -> MirroredAnswers:
    """Mean answer over the combinations; one engine call, so one encoder pass, for each.

    Args:
        engine: the runtime.
        windows: (B, C, Z, Y, X) float32.
        combinations: from `mirror_combinations`.
        where: case id, for messages.

    Raises:
        DataError: an answer is NaN or infinite.
    """
    total = functools.reduce(
        _sum, (_predict_flipped(engine, windows, axes, where) for axes in combinations)
    )
    share = 1.0 / len(combinations)
    return MirroredAnswers(
        logits=total.logits * np.float32(share),
        probabilities={task: p * share for task, p in total.probabilities.items()},
        evidence={task: e * share for task, e in total.evidence.items()},
    )


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities along the last axis, float64; safe for large logits."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    exponentials = np.exp(shifted)
    probabilities: np.ndarray = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return probabilities


def _predict_flipped(
    engine: Engine, windows: np.ndarray, axes: Axes, where: str
) -> MirroredAnswers:
    answers = engine.predict(np.ascontiguousarray(np.flip(windows, axes)))
    _check_finite(answers, engine, where)
    return MirroredAnswers(
        logits=np.flip(answers.logits, axes),
        probabilities={task: softmax(v) for task, v in answers.case_logits.items()},
        evidence={task: v.astype(np.float64) for task, v in answers.evidence.items()},
    )


def _sum(a: MirroredAnswers, b: MirroredAnswers) -> MirroredAnswers:
    return MirroredAnswers(
        logits=a.logits + b.logits,
        probabilities={task: p + b.probabilities[task] for task, p in a.probabilities.items()},
        evidence={task: e + b.evidence[task] for task, e in a.evidence.items()},
    )


def _check_finite(answers: WindowAnswers, engine: Engine, where: str) -> None:
    arrays = [answers.logits, *answers.case_logits.values(), *answers.evidence.values()]
    if not all(np.isfinite(array).all() for array in arrays):
        raise DataError(
            f"case {where!r}",
            found=f"NaN or infinite answers from the network (engine {engine.name})",
            expected="finite numbers",
            remedy="Look at the image's intensities; with fp16 try bf16 or fp32.",
        )
