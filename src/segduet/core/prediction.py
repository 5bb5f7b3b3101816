"""The two answers for one case."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from segduet.core.answers import decide
from segduet.core.geometry import Geometry
from segduet.core.prepared import Box
from segduet.core.tasks import TaskSpec


class RegionSource(StrEnum):
    """What found the region that the networks saw.

    WHOLE: all of the image.
    BODY: the body in a CT.
    COARSE: a coarse network.
    """

    WHOLE = "whole"
    BODY = "body"
    COARSE = "coarse"


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenRegion:
    """The part of an image that the networks saw; the rest was taken for background.

    Attributes:
        box: half-open (start, stop) along z, y and x of the user's image.
        found_by: what found it.
        notes: one sentence for each region that was not taken or had to be given up, and why.
    """

    box: Box
    found_by: RegionSource
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """Label map and class probabilities of one case, on the user's own grid.

    Attributes:
        case: case id.
        label_map: (Z, Y, X) uint8; None where the network only classifies.
        geometry: the input image's geometry.
        probabilities: task name -> (answer_size,) float64, as from `answer_probabilities`: one
            per class in the order of `TaskSpec.classes`, or a regression's value.
        evidence: task name -> predicted voxels of the task's region the answer rests on (prepared
            grid, summed over windows, so overlapping windows count twice); 0 means the whole image
            was weighed instead.
        features: task name -> (F,) float32, the pooled and normalised vector its head read; of
            several networks end to end.
        attention: task name -> (Z, Y, X) float32 >= 0 that sums to 1, where its head looked; only
            on request, and of heads that attend.
        seconds: time by stage, such as `prepare`, `network`, `restore`.
        seen: the part of the image that was looked at, where one was searched for.
        sets: task name -> classes of its conformal set, perhaps none; of calibrated answers.
        abstains: task name -> whether the answer is withheld; of the tasks that have a set.
        consistency: `ok`, or what contradicts the mask; empty where no rule of the calibration
            applies, None where there are no rules.
    """

    case: str
    label_map: np.ndarray | None
    geometry: Geometry
    probabilities: Mapping[str, np.ndarray] = field(default_factory=dict)
    evidence: Mapping[str, float] = field(default_factory=dict)
    features: Mapping[str, np.ndarray] = field(default_factory=dict)
    attention: Mapping[str, np.ndarray] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    seen: SeenRegion | None = None
    sets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    abstains: Mapping[str, bool] = field(default_factory=dict)
    consistency: str | None = None

    def label(self, task: TaskSpec) -> str:
        """What was answered, as the case table would hold it."""
        return decide(task, self.probabilities[task.name])


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedCase:
    """A case that could not be predicted; the others went on.

    Attributes:
        case: case id.
        message: what went wrong, in one line.
    """

    case: str
    message: str
