"""The two answers for one case."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from segduet.core.answers import decide
from segduet.core.geometry import Geometry
from segduet.core.tasks import TaskSpec


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
    """

    case: str
    label_map: np.ndarray | None
    geometry: Geometry
    probabilities: Mapping[str, np.ndarray] = field(default_factory=dict)
    evidence: Mapping[str, float] = field(default_factory=dict)
    features: Mapping[str, np.ndarray] = field(default_factory=dict)
    attention: Mapping[str, np.ndarray] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)

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
