"""The same step of `predict`: calibrated probabilities, sets, abstentions and flags (B16)."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segduet.core.answers import decided_class
from segduet.core.description import validated
from segduet.core.errors import RequestError
from segduet.core.labels import LabelScheme
from segduet.core.prediction import FailedCase, Prediction
from segduet.core.tasks import TaskSpec
from segduet.evaluation.calibration import scaled_answers
from segduet.evaluation.calibration_file import (
    AnswerSettings,
    Calibration,
    ClassSets,
    TaskCalibration,
)
from segduet.evaluation.conformal import in_set, is_withheld
from segduet.evaluation.consistency import has_region
from segduet.inference.answers_file import CONSISTENT, AnswerRow, JudgedColumns
from segduet.inference.bundles.manifest import CarriedCalibration
from segduet.workflows.load_request import LoadRequest
from segduet.workflows.loading import LoadedModel
from segduet.workflows.models import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationChoice:
    """Which calibration answers are to have.

    Attributes:
        file: of `calibrate learn`; None takes the one that a bundle carries, if any.
        alpha: level of the sets; None takes the first that was learned.
        is_off: take none.
    """

    file: Path | None = None
    alpha: float | None = None
    is_off: bool = False

    def read(self) -> Calibration | None:
        """The file that was named; None without one.

        Raises:
            RequestError: it is named and switched off.
            DataError: it is damaged.
        """
        if self.is_off and (self.file is not None or self.alpha is not None):
            raise RequestError(
                "--no-calibration",
                found="--calibration or --alpha beside it",
                expected="one or the other",
                remedy="Leave one of them out.",
            )
        return Calibration.read(self.file) if self.file is not None else None


#: What a bundle carries, if anything.
OWN_CALIBRATION = CalibrationChoice()


class Calibrator:
    """A calibration at work.

    Args:
        calibration: what was learned.
        source: where it came from, for messages and the manifest.
        alpha: level of the sets; None takes the first of each task.
        model: whose answers they are.

    Raises:
        RequestError: a level that was not learned, or a rule for an unknown region.
    """

    def __init__(
        self, calibration: Calibration, source: str, alpha: float | None, model: Model
    ) -> None:
        self._calibration, self._source = calibration, source
        self._labels, self._segments = model.labels, model.segments
        self._sets = {t.task.name: _level(t, alpha, source) for t in calibration.tasks if t.sets}
        if alpha is not None and not self._sets:
            raise _no_level(alpha, [], source)
        for own in calibration.tasks:
            _require_region(own, model.labels, source)

    def row(self, outcome: Prediction | FailedCase, tasks: Sequence[TaskSpec]) -> AnswerRow:
        """The line for what became of a case; the answer itself is the network's own.

        Args:
            outcome: with probabilities as the network gives them.
            tasks: what the network answers.
        """
        row = AnswerRow.of(outcome, tasks)
        if isinstance(outcome, FailedCase):
            return row
        judged = self.judged(outcome)
        return dataclasses.replace(
            row,
            probabilities={n: tuple(map(float, judged.probabilities[n])) for n in row.labels},
            sets=judged.sets,
            abstains=judged.abstains,
            consistency=judged.consistency,
        )

    def judged(self, prediction: Prediction) -> Prediction:
        """The answer with calibrated probabilities, sets, abstentions and what contradicts it.

        What is decided stays as the network said it.

        Args:
            prediction: with probabilities as the network gives them.
        """
        probabilities = dict(prediction.probabilities)
        sets, abstains = {}, {}
        for own in self._calibration.tasks:
            name = own.task.name
            said = prediction.probabilities[name]
            probabilities[name] = scaled_answers(own.task, said, own.temperature_array)
            if name in self._sets:
                sets[name], abstains[name] = self._judged(own, said, probabilities[name])
        return dataclasses.replace(
            prediction,
            probabilities=probabilities,
            sets=sets,
            abstains=abstains,
            consistency=self._consistency(prediction),
        )

    @property
    def identity(self) -> dict[str, Any]:
        """All that its answers depend on, for runs that go on where another stopped."""
        content = CarriedCalibration.of(self._calibration.to_json())
        return {"sha256": content.sha256, "alpha": {n: s.alpha for n, s in self._sets.items()}}

    @property
    def answered(self) -> AnswerSettings:
        """How the answers that it was learned on were made."""
        return self._calibration.answered

    @property
    def columns(self) -> JudgedColumns:
        """What it adds to predictions.csv."""
        judged = tuple(own.task for own in self._calibration.tasks if own.sets)
        return JudgedColumns(tasks=judged, has_consistency=self._has_rules)

    def to_json(self) -> dict[str, Any]:
        """For a manifest: what was applied."""
        return {
            "source": self._source,
            "dataset": self._calibration.dataset,
            "tasks": {
                own.task.name: {
                    "temperatures": list(own.temperatures),
                    "alpha": self._sets[own.task.name].alpha if own.sets else None,
                    "least_confidence": own.least_confidence,
                }
                for own in self._calibration.tasks
            },
        }

    @property
    def _has_rules(self) -> bool:
        return self._segments and any(own.consistency for own in self._calibration.tasks)

    def _judged(
        self, own: TaskCalibration, said: np.ndarray, calibrated: np.ndarray
    ) -> tuple[tuple[str, ...], bool]:
        """The set of an answer, and whether the answer is withheld."""
        least = self._sets[own.task.name].least_probability
        members = in_set(said, [least[name] for name in own.task.classes])
        decided = decided_class(own.task, said)
        withheld = is_withheld(members, decided, calibrated, own.least_confidence)
        held = zip(own.task.classes, members, strict=True)
        return tuple(name for name, is_held in held if is_held), bool(withheld)

    def _consistency(self, prediction: Prediction) -> str | None:
        if not self._has_rules:
            return None
        assert prediction.label_map is not None, prediction.case
        contradictions, is_judged = [], False
        for own in self._calibration.tasks:
            rules, label = own.consistency, prediction.label(own.task)
            if rules is None or not rules.judges(label):
                continue
            is_judged = True
            found = has_region(prediction.label_map, self._labels, rules.region)
            if contradiction := rules.contradiction(label, has_region=found):
                contradictions.append(f"{own.task.name}: {contradiction}")
        return "; ".join(contradictions) or (CONSISTENT if is_judged else "")


def calibrator_of(
    choice: CalibrationChoice, given: Calibration | None, models: Sequence[LoadedModel]
) -> Calibrator | None:
    """The calibration for a model in memory: the given one, else the one its bundle carries.

    Args:
        choice: what was asked for.
        given: as read from the file that was named.
        models: those that answer together.

    Returns:
        None where there is none, or where it is switched off.

    Raises:
        RequestError: it was learned for another model, several models answer together, or there
            is none to switch off.
        DataError: what the bundle carries is damaged.
    """
    first = models[0]
    if choice.is_off and first.calibration is None:
        raise RequestError(
            "--no-calibration",
            found=f"no calibration in {first.model.source}",
            expected="a bundle that carries one",
            remedy="Leave the option out.",
        )
    source = str(choice.file)
    if given is None and first.calibration is not None and not choice.is_off:
        source = f"bundle {first.model.source}"
        given = validated(Calibration, first.calibration.content, where=f"{source}, calibration")
    if given is None:
        if choice.alpha is not None:
            raise _no_level(choice.alpha, [], str(first.model.source))
        return None
    if len(models) > 1:
        raise RequestError(
            source,
            found="several models, by --also",
            expected="the one model whose answers the calibration was learned on",
            remedy="Leave --also out, or predict with --no-calibration.",
        )
    given.require_model(
        first.model.tasks, first.weights_sha256, where=source, whose=str(first.model.source)
    )
    return Calibrator(given, source, choice.alpha, first.model)


def calibration_warnings(
    calibrator: Calibrator, asked: LoadRequest, loaded: LoadedModel
) -> list[str]:
    """What makes answers other than those a calibration was learned on, one sentence each.

    Args:
        calibrator: the calibration at work.
        asked: how the model was loaded.
        loaded: it.
    """
    folds, learned = loaded.model.folds, calibrator.answered
    now = AnswerSettings(
        mirrored=asked.is_mirrored, step=asked.step, aggregation=str(asked.aggregation)
    )
    differences = {
        f"{len(folds)} folds are averaged": len(folds) > 1,
        "fast mode takes shortcuts": asked.is_fast,
        f"windows are {now.to_text()}": now != learned,
        "the networks run in 8 bits": loaded.choice.precision == "int8",
    }
    return [
        "The calibration was learned on answers of single folds in exact mode "
        f"({learned.to_text()}), but here {text}: its promises hold only as far as that changes "
        "little."
        for text, is_so in differences.items()
        if is_so
    ]


def _level(own: TaskCalibration, alpha: float | None, source: str) -> ClassSets:
    if alpha is None:
        return own.sets[0]
    found = next((level for level in own.sets if level.alpha == alpha), None)
    if found is None:
        raise _no_level(alpha, [level.alpha for level in own.sets], source)
    return found


def _no_level(alpha: float, known: Sequence[float], source: str) -> RequestError:
    return RequestError(
        f"--alpha {alpha:g}",
        found=f"no sets of this level in {source}",
        expected=f"one of {list(known)}" if known else "a calibration with sets",
        remedy="Choose one of them, or learn it with `segduet calibrate learn --alpha`.",
    )


def _require_region(own: TaskCalibration, labels: LabelScheme, source: str) -> None:
    region = own.consistency.region if own.consistency else None
    if region is not None and region not in labels.foreground:
        raise RequestError(
            f"{source}, rules of {own.task.name!r}",
            found=f"the region {region!r}",
            expected=f"one of {list(labels.foreground)}, or null for any of them",
            remedy="Learn the calibration anew with `segduet calibrate learn`.",
        )
