"""Numbers of one case and of a cohort; an undefined number says why instead of pretending."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from segduet.core.tasks import TaskKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One number, or the reason why there is none.

    Attributes:
        value: the number; None where it is undefined or was not measured.
        reason: why it is None; empty otherwise.
    """

    value: float | None
    reason: str = ""

    def __post_init__(self) -> None:
        assert (self.value is None) == bool(self.reason), (self.value, self.reason)
        assert self.value is None or np.isfinite(self.value), self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassAnswer:
    """What was said and what is true for one case and one task.

    Attributes:
        reference: the true answer as the case table holds it (class name, findings such as `a|b`,
            number); None where it is unknown.
        predicted: the model's answer, written alike.
        probabilities: (answer_size,) numbers of the answer, in the order of the task's classes;
            the value itself for a regression.
        kind: the task's.
        unit: of a regression's numbers, empty where they have none.
    """

    reference: str | None
    predicted: str
    probabilities: tuple[float, ...]
    kind: TaskKind = "multiclass"
    unit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseScores:
    """Everything measured on one case.

    Attributes:
        case: case id.
        patient: patient id, the unit of resampling when a patient has several cases.
        segmentation: region name -> metric name (`dsc`, `volume_difference_ml`, ...) -> score.
        volumes_ml: region name -> (reference, predicted) volume in millilitres.
        answers: task name -> answer.
    """

    case: str
    patient: str
    segmentation: Mapping[str, Mapping[str, Score]] = field(default_factory=dict)
    volumes_ml: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    answers: Mapping[str, ClassAnswer] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A cohort figure with its uncertainty (B19).

    Attributes:
        value: point estimate; None where undefined.
        ci95: lower and upper limit of the 95 % interval; None where undefined.
        n: cases it rests on.
        reason: why value or interval is None; empty otherwise.
    """

    value: float | None
    ci95: tuple[float, float] | None
    n: int
    reason: str = ""
