"""Conformal sets: classes that cannot be excluded, right as often as promised in every class (B16).

This part runs in `predict`, with numpy alone; its thresholds come from `conformal_fit.py`.
N cases, K classes.
"""

import math
from collections.abc import Sequence

import numpy as np


def in_set(probabilities: np.ndarray, least: Sequence[float | None]) -> np.ndarray:
    """Which classes belong to the set: (..., K) bool; there may be none.

    Args:
        probabilities: (..., K) float64, of the same kind as those the thresholds were fitted on.
        least: as from `least_probabilities`.
    """
    bounds = np.array([-math.inf if bound is None else bound for bound in least])
    return np.asarray(probabilities >= bounds)


def names_one_answer(members: np.ndarray, decided: np.ndarray) -> np.ndarray:
    """Whether the set holds the decided class and no other: (...) bool.

    A set of one other class contradicts the answer, and an empty one says that the case is unlike
    those of every class.

    Args:
        members: (..., K) bool, as from `in_set`.
        decided: (...) integer class indices.
    """
    holds_it = np.take_along_axis(members, np.asarray(decided)[..., None], axis=-1)[..., 0]
    return np.asarray(holds_it & (members.sum(-1) == 1))


def is_withheld(
    members: np.ndarray,
    decided: np.ndarray,
    calibrated: np.ndarray,
    least_confidence: float | None,
) -> np.ndarray:
    """Whether answers are withheld: (...) bool.

    Args:
        members: (..., K) bool, the sets.
        decided: (...) integer class indices.
        calibrated: (..., K) calibrated probabilities.
        least_confidence: see `TaskCalibration`.
    """
    if least_confidence is None:
        return ~names_one_answer(members, decided)
    return np.asarray(calibrated.max(-1) < least_confidence)
