"""One trial of a search: trainings of a recipe with some settings changed, and their scores."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segduet.core.errors import RequestError, SegduetError
from segduet.core.files import read_csv, read_json_lines
from segduet.evaluation.cohort import read_summary
from segduet.scale.expansion import expand
from segduet.scale.places import ANSWERS, SUMMARY, Places
from segduet.scale.process import SEGDUET
from segduet.scale.search_space import MedianPruning, Objective, Search, is_hopeless
from segduet.scale.state import StudyState
from segduet.scale.study import Study
from segduet.scale.trials import TrialRecord
from segduet.scale.variants import variants
from segduet.scale.watched_unit import RunUnit, run_watched

TIME: Objective = "seconds_per_case"
#: Where a line of metrics.jsonl holds what a pruner watches.
_WATCHED = {"patch_dice": ("validation", "patch_dice"), "joint_score": ("full_case", "score")}


class TrialStoppedError(Exception):
    """The search was interrupted; the trial goes on when the search does."""


class _HopelessError(Exception):
    """The trial is behind the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRunner:
    """Runs trials of one search.

    Attributes:
        study: with the search.
        search: its search.
        is_stopped: set when the search is interrupted.
        run_unit: `run_watched`, or the same on Ray.
        launcher: program that takes the units' arguments.
    """

    study: Study
    search: Search
    is_stopped: threading.Event
    run_unit: RunUnit = run_watched
    launcher: Sequence[str] = SEGDUET

    def run(
        self, number: int, changes: Mapping[str, Any], others: Sequence[Sequence[float]]
    ) -> TrialRecord:
        """Trains every fold, one after the other, and measures; or says why not.

        Args:
            number: of the trial.
            changes: recipe keys and values.
            others: curves of the trials that have ended, for the pruner.

        Raises:
            TrialStoppedError: the search was interrupted.
        """
        study = trial_study(self.study, number, changes)
        places, (variant,) = Places.of(study), variants(study)
        watched = places.fold(variant, study.folds[0]) / "metrics.jsonl"

        def record(state: str, **more: Any) -> TrialRecord:
            curve = tuple(_curve(watched, self.search.pruner))
            return TrialRecord(
                number=number, state=state, changes=dict(changes), curve=curve, **more
            )

        try:
            reason = self._train(study, self._watch(watched, others))
            if reason:
                return record("failed", reason=reason)
            validations = [places.validation(variant, fold) for fold in study.folds]
            answers = places.predictions(variant) / ANSWERS
            values = [
                _seconds(answers) if name == TIME else _mean_score(validations, name)
                for name in self.search.objectives
            ]
            return record("complete", values=tuple(values))
        except _HopelessError:
            return record("pruned", reason="below the median of the other trials")
        except SegduetError as error:
            return record("failed", reason=str(error))

    def _train(self, study: Study, watch_first: Callable[[], None]) -> str:
        """Why a training failed; empty where none did."""
        state, watch = StudyState.of(study), watch_first
        for unit in expand(study):
            reason = self.run_unit(unit, state, watch, launcher=self.launcher)
            if reason:
                return reason
            watch = self._refuse_stopped  # trials are compared on their first fold
        return ""

    def _watch(self, file: Path, others: Sequence[Sequence[float]]) -> Callable[[], None]:
        def watch() -> None:
            self._refuse_stopped()
            rule = self.search.pruner
            if rule and is_hopeless(_curve(file, rule), others, rule):
                raise _HopelessError

        return watch

    def _refuse_stopped(self) -> None:
        if self.is_stopped.is_set():
            raise TrialStoppedError


def trial_study(study: Study, number: int, changes: Mapping[str, Any]) -> Study:
    """The study that a trial is: its trainings with the changes, under a name of its own.

    Where time counts, its models also predict the study's cases, which nobody scores.
    """
    objectives = study.search.objectives if study.search else ()
    return study.model_copy(
        update={
            "name": f"{study.name}-t{number:04d}",
            "set": {**study.set, **changes},
            "predict": study.predict if TIME in objectives else None,
            "evaluate": None,
            "search": None,
            "out": study.out_folder / "trials" / f"{number:04d}",
        }
    )


def _curve(file: Path, rule: MedianPruning | None) -> list[float]:
    """What the pruner watches, of the epochs so far; an epoch without it repeats the last value."""
    curve: list[float] = []
    if rule is None or not file.is_file():
        return curve
    section, key = _WATCHED[rule.watch]
    for line in read_json_lines(file):
        value = line.get(section, {}).get(key)
        curve += [curve[-1] if curve else 0.0] if value is None else [float(value)]
    return curve


def _mean_score(validations: Sequence[Path], objective: Objective) -> float:
    """Mean over the folds.

    Raises:
        RequestError: the objective was not measured in one of them.
    """
    found = []
    for folder in validations:
        scores = _scores(read_summary(folder / SUMMARY), objective)
        if not scores:
            raise RequestError(
                f"objective {objective}",
                found=f"no such score in {folder / SUMMARY}",
                expected="masks for dsc, tasks with classes for macro_f1",
                remedy="Choose objectives that this dataset and recipe have.",
            )
        found.append(float(np.mean(scores)))
    return float(np.mean(found))


def _scores(summary: Mapping[str, Any], objective: Objective) -> list[float]:
    if objective == "dsc":
        figures = [summary["segmentation"].get("mean_foreground", {}).get("dsc", {}).get("mean")]
    else:
        tasks = summary["classification"].values()
        figures = [task.get("macro_f1", {}).get("value") for task in tasks]
    return [figure for figure in figures if figure is not None]


def _seconds(answers: Path) -> float:
    """Mean over the predicted cases.

    Raises:
        RequestError: none was predicted.
    """
    _, rows = read_csv(answers)
    found = [float(row["seconds"]) for row in rows if row["status"] == "ok"]
    if not found:
        raise RequestError(
            str(answers),
            found="no case that was predicted",
            expected="one whose time counts",
            remedy="Name other cases under `predict.inputs`.",
        )
    return float(np.mean(found))
