"""One case-level answer from what is known of all windows, by a declared rule (F64)."""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

import numpy as np


class Aggregation(StrEnum):
    """How windows answer for their case.

    CASE: what a head knows of the windows is added up, every voxel counted once, and the head
        answers once: the case as a whole, however it was cut.
    EVIDENCE: every window answers; their answers are weighed by the predicted voxels of what the
        task is about, so that windows that do not see the lesion do not vote; where no window sees
        any, by the image voxels they cover.
    MEAN: every window answers, and all count the same.
    MAX: the window with the most evidence answers alone (several that draw level, together); where
        there is none, the window that covers the most image voxels.
    """

    CASE = "case"
    EVIDENCE = "evidence"
    MEAN = "mean"
    MAX = "max"


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowVotes:
    """What speaks for every window of a case in one task; T windows.

    Attributes:
        evidence: (T,) float64 >= 0, predicted voxels of the task's evidence region.
        image_voxels: (T,) voxels of the image in the window, padding left out; at least one > 0.
    """

    evidence: np.ndarray
    image_voxels: np.ndarray

    def weights(self, rule: Aggregation) -> np.ndarray:
        """Weights (T,) float64 in [0, 1] of the windows' own answers, the largest being 1."""
        assert rule is not Aggregation.CASE, "windows do not answer by themselves"
        weights = self.evidence if self.total_evidence > 0 else self.image_voxels
        # scaled first: tiny evidence times tiny probabilities must not underflow
        scaled: np.ndarray = weights / weights.max()
        match rule:
            case Aggregation.EVIDENCE:
                return scaled
            case Aggregation.MEAN:
                return np.ones(len(scaled))
            case Aggregation.MAX:
                return np.asarray(scaled == 1, dtype=np.float64)
            case _:
                assert_never(rule)

    @property
    def total_evidence(self) -> float:
        """Evidence of all windows; where they overlap a voxel counts more than once."""
        return math.fsum(self.evidence)


def exact_sum(rows: np.ndarray) -> np.ndarray:
    """Sum (S,) float64 over rows (T, S), exactly rounded: their order cannot change a bit."""
    return np.array([math.fsum(column) for column in rows.T.tolist()])


def weighted_mean(rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean (S,) float64 of rows (T, S) by weights (T,), whatever their order; one row is itself."""
    mean: np.ndarray = exact_sum(rows * weights[:, None]) / math.fsum(weights)
    return mean
