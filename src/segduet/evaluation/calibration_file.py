"""`calibration.json`: temperatures, sets and rules, for which model, and how well they serve."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, JsonValue, model_validator

from segduet.core.description import validated
from segduet.core.errors import RequestError
from segduet.core.files import read_json, write_json
from segduet.core.tasks import TaskSpec
from segduet.evaluation.calibration import num_temperatures
from segduet.evaluation.consistency import ConsistencyRules

Share = Annotated[float, Field(gt=0, lt=1)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class ClassSets(BaseModel):
    """Thresholds of the conformal sets of one level.

    Attributes:
        alpha: share of a class's patients whose set may lack it.
        least_probability: class -> probability, before calibration, from which it is in the set;
            None: it always is.
        always_because: class -> why it always is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    alpha: Share
    least_probability: dict[str, FiniteFloat | None]
    always_because: dict[str, str] = {}

    @model_validator(mode="after")
    def _gives_reasons(self) -> Self:
        without = {name for name, bound in self.least_probability.items() if bound is None}
        if set(self.always_because) != without:
            raise ValueError(f"always_because should name {sorted(without)}, and no others")
        return self


class TaskCalibration(BaseModel):
    """What was learned about the answers to one task.

    Attributes:
        task: the question, without a scale.
        temperatures: one, or one per finding; see `calibration.scaled_answers`.
        sets: by level, the first is the default; none for findings.
        least_confidence: calibrated probability below which the answer is withheld; None: it is
            withheld unless the set holds nothing else.
        consistency: which classes go with a region; None where nothing was learned.
        evidence: figures, cross-fitted, plain types.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: TaskSpec
    temperatures: tuple[Annotated[FiniteFloat, Field(gt=0)], ...]
    sets: tuple[ClassSets, ...] = ()
    least_confidence: Share | None = None
    consistency: ConsistencyRules | None = None
    evidence: dict[str, JsonValue] = {}

    @model_validator(mode="after")
    def _fits_the_task(self) -> Self:
        task = self.task
        if task.kind == "regression":
            raise ValueError("a regression has no probabilities")
        if len(self.temperatures) != num_temperatures(task):
            raise ValueError(f"expected {num_temperatures(task)} temperatures")
        if bool(self.sets) != task.has_exclusive_classes:
            raise ValueError("sets belong to classes that exclude one another, and these to sets")
        for level in self.sets:
            if tuple(level.least_probability) != task.classes:
                raise ValueError(f"expected a threshold for each of {list(task.classes)}")
        alphas = [level.alpha for level in self.sets]
        if len(set(alphas)) != len(alphas):
            raise ValueError(f"the levels {alphas} repeat")
        known = {rule.answer for rule in self.consistency.classes} if self.consistency else set()
        if known - set(task.classes):
            raise ValueError(f"rules for {sorted(known - set(task.classes))}, which are no classes")
        return self

    @property
    def temperature_array(self) -> np.ndarray:
        """The temperatures: (num_temperatures,) float64."""
        return np.array(self.temperatures, dtype=np.float64)


class AnswerSettings(BaseModel):
    """How the answers that something was learned on were made, in exact mode.

    Attributes:
        mirrored: whether windows were mirrored.
        step: distance between windows as a share of the patch.
        aggregation: how windows answered for their case.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mirrored: bool
    step: Annotated[FiniteFloat, Field(gt=0, le=1)]
    aggregation: str

    def to_text(self) -> str:
        """In few words, such as `mirrored, step 0.5, aggregation case`."""
        mirrored = "mirrored" if self.mirrored else "not mirrored"
        return f"{mirrored}, step {self.step:g}, aggregation {self.aggregation}"


class Calibration(BaseModel):
    """Content of a calibration.json.

    Attributes:
        dataset: whose cases it was learned on.
        weights_sha256: fold -> hash of the weights that answered them.
        answered: how they were answered.
        tasks: at least one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["segduet-calibration-1"] = "segduet-calibration-1"
    dataset: str
    weights_sha256: dict[str, Sha256] = Field(min_length=1)
    answered: AnswerSettings
    tasks: tuple[TaskCalibration, ...] = Field(min_length=1)

    @classmethod
    def read(cls, source: Path) -> Self:
        """Reads and checks a file.

        Raises:
            DataError: missing, not JSON, an unknown key, or entries that contradict each other.
        """
        return validated(cls, read_json(source), where=str(source))

    def write(self, target: Path) -> None:
        """Writes the file atomically."""
        write_json(target, self.to_json())

    def to_json(self) -> dict[str, Any]:
        """Plain types."""
        return self.model_dump(mode="json")

    def of_task(self, name: str) -> TaskCalibration | None:
        """What was learned about a task; None where nothing was."""
        return next((t for t in self.tasks if t.task.name == name), None)

    def require_model(
        self,
        tasks: Sequence[TaskSpec],
        weights_sha256: Mapping[str, str],
        *,
        where: str,
        whose: str,
    ) -> None:
        """Checks that a model is the one whose answers this was learned on, or some of its folds.

        Args:
            tasks: what the model answers.
            weights_sha256: name -> hash of every network that answers.
            where: the calibration's file, for the message.
            whose: the model, for the message.

        Raises:
            RequestError: other tasks or classes, or weights that were not there.
        """
        asked = {task.name: task.model_copy(update={"scale": None}) for task in tasks}
        for own in self.tasks:
            if asked.get(own.task.name) != own.task:
                raise _of_another(
                    where,
                    found=f"a calibration of {own.task.name!r} with the classes "
                    f"{list(own.task.classes)}",
                    expected=f"one of the tasks of {whose}, "
                    f"{ {name: list(task.classes) for name, task in asked.items()} }",
                )
        known = set(self.weights_sha256.values())
        strange = sorted(name for name, digest in weights_sha256.items() if digest not in known)
        if strange:
            raise _of_another(
                where,
                found=f"a calibration that was learned on other weights than {strange} of {whose}",
                expected="the calibration of these very weights",
            )


def _of_another(where: str, *, found: str, expected: str) -> RequestError:
    return RequestError(
        where,
        found=found,
        expected=expected,
        remedy="Learn one for this model with `segduet calibrate learn`.",
    )
