"""One case-level answer from the answers of all windows, by a declared rule (F64)."""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

import numpy as np


class Aggregation(StrEnum):
    """How windows are weighed against each other.

    EVIDENCE: by the predicted voxels of what the task is about, so that windows that do not see
        the lesion do not vote; where no window sees any, by the image voxels they cover.
    MEAN: all windows count the same.
    """

    EVIDENCE = "evidence"
    MEAN = "mean"


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowVotes:
    """What every window of a case says about one task; T windows.

    Attributes:
        probabilities: (T, num_classes) float64, rows sum to 1.
        evidence: (T,) float64 >= 0, predicted voxels of the task's evidence region.
        image_voxels: (T,) voxels of the image in the window, padding left out; at least one > 0.
    """

    probabilities: np.ndarray
    evidence: np.ndarray
    image_voxels: np.ndarray


def aggregate(votes: WindowVotes, rule: Aggregation) -> np.ndarray:
    """Class probabilities of the case: (num_classes,) float64, sums to 1.

    Sums are exactly rounded (`math.fsum`), so the order of the windows cannot change a bit. A
    single window gives its own probabilities.
    """
    weights = _weights(votes, rule)
    weighted = votes.probabilities * weights[:, None]
    sums = np.array([math.fsum(column) for column in weighted.T])
    probabilities: np.ndarray = sums / math.fsum(sums)
    return probabilities


def total_evidence(votes: WindowVotes) -> float:
    """Evidence of all windows together; overlapping windows count a voxel more than once."""
    return math.fsum(votes.evidence)


def _weights(votes: WindowVotes, rule: Aggregation) -> np.ndarray:
    match rule:
        case Aggregation.EVIDENCE:
            weights = votes.evidence if total_evidence(votes) > 0 else votes.image_voxels
        case Aggregation.MEAN:
            weights = np.ones(len(votes.evidence))
        case _:
            assert_never(rule)
    # scaled first: tiny evidence times tiny probabilities must not underflow
    scaled: np.ndarray = weights / weights.max()
    return scaled
