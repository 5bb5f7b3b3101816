"""The two answers for one case."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from segduet.core.geometry import Geometry
from segduet.core.tasks import TaskSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """Label map and class probabilities of one case, on the user's own grid.

    Attributes:
        case: case id.
        label_map: (Z, Y, X) uint8.
        geometry: the input image's geometry.
        probabilities: task name -> (num_classes,) float64, sums to 1, order of `TaskSpec.classes`.
        evidence: task name -> predicted voxels of the task's region the answer rests on (prepared
            grid, summed over windows, so overlapping windows count twice); 0 means the whole image
            was weighed instead.
        seconds: time by stage, such as `prepare`, `network`, `restore`.
    """

    case: str
    label_map: np.ndarray
    geometry: Geometry
    probabilities: Mapping[str, np.ndarray] = field(default_factory=dict)
    evidence: Mapping[str, float] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)

    def label(self, task: TaskSpec) -> str:
        """Name of the most probable class; the first of equals."""
        return task.classes[int(np.argmax(self.probabilities[task.name]))]


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedCase:
    """A case that could not be predicted; the others went on.

    Attributes:
        case: case id.
        message: what went wrong, in one line.
    """

    case: str
    message: str
