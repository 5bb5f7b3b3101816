"""The trials of a search in Optuna's journal: asked for, told, and found again after a crash."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from segduet.core.errors import RequestError
from segduet.scale.search_space import DIRECTIONS, Range, Search

_SEARCH, _CURVE, _REASON = "search", "curve", "reason"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRecord:
    """A trial that came to an end.

    Attributes:
        number: counted from 0.
        state: `complete`, `pruned` (ended early) or `failed`.
        changes: recipe keys with the values that were tried.
        values: one for each objective, of a complete trial; else none.
        curve: what the pruner watched, an entry for each epoch.
        reason: why it failed, or was ended early.
    """

    number: int
    state: str
    changes: dict[str, Any]
    values: tuple[float, ...] = ()
    curve: tuple[float, ...] = ()
    reason: str = ""


_STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}
_OPTUNA_STATES = {name: state for state, name in _STATES.items()}


class Trials:
    """Trials of one search, in a journal file that survives a crash at any point.

    One process at a time may use a journal.

    Args:
        journal: the file; made where it is not there.
        search: what is tried; must be that of the journal.

    Raises:
        RequestError: the journal is that of another search.
    """

    def __init__(self, journal: Path, search: Search) -> None:
        logging.getLogger("optuna").setLevel(logging.ERROR)
        _cut_half_line(journal)
        journal.parent.mkdir(parents=True, exist_ok=True)
        self._search = search
        self._study = optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(journal))),
            study_name="search",
            directions=[DIRECTIONS[name] for name in search.objectives],
            load_if_exists=True,
        )
        self._require_same_search(journal)
        if search.sampler == "grid":
            for changes in search.grid():
                self._study.enqueue_trial(_as_parameters(search, changes), skip_if_exists=True)

    def begin(self) -> tuple[int, dict[str, Any]] | None:
        """The next trial: its number and recipe changes; None where all have been begun."""
        trials = self._study.get_trials(deepcopy=False)
        begun = sum(trial.state is not TrialState.WAITING for trial in trials)
        if begun >= self.num_planned:
            return None
        # Of a resumed search as of an undisturbed one: a try depends on the seed and its number.
        self._study.sampler = _sampler(self._search, begun)
        trial = self._study.ask()
        return trial.number, _suggested(trial, self._search)

    def left_open(self) -> list[tuple[int, dict[str, Any]]]:
        """Trials that were begun and did not end, as of a process that was killed."""
        trials = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        return [(trial.number, _as_changes(self._search, trial.params)) for trial in trials]

    def end(self, record: TrialRecord) -> None:
        """Keeps how a trial ended."""
        notes = {_CURVE: list(record.curve), _REASON: record.reason}
        self._study.set_user_attr(str(record.number), notes)
        state = _OPTUNA_STATES[record.state]
        self._study.tell(record.number, list(record.values) or None, state=state)

    @property
    def num_planned(self) -> int:
        """Tries of the whole search."""
        search = self._search
        return len(search.grid()) if search.sampler == "grid" else search.trials

    def ended(self) -> list[TrialRecord]:
        """Every trial that came to an end, by number."""
        trials = self._study.get_trials(deepcopy=False, states=tuple(_STATES))
        notes = self._study.user_attrs
        return [
            TrialRecord(
                number=trial.number,
                state=_STATES[trial.state],
                changes=_as_changes(self._search, trial.params),
                values=tuple(trial.values) if trial.state is TrialState.COMPLETE else (),
                curve=tuple(notes[str(trial.number)][_CURVE]),
                reason=notes[str(trial.number)][_REASON],
            )
            for trial in sorted(trials, key=lambda trial: trial.number)
        ]

    def _require_same_search(self, journal: Path) -> None:
        """`trials` may grow; anything else makes the trials incomparable."""
        now = self._search.model_dump(mode="json", exclude={"trials"})
        then = self._study.user_attrs.get(_SEARCH, now)
        if then != now:
            changed = [key for key in now if then.get(key) != now[key]]
            raise RequestError(
                str(journal),
                found=f"a search with another {changed[0]!r}",
                expected="the search it was begun with; only `trials` may change",
                remedy="Give the study another name, or restore its `search`.",
            )
        self._study.set_user_attr(_SEARCH, now)


def _sampler(search: Search, number: int) -> optuna.samplers.BaseSampler:
    seed = int(np.random.SeedSequence([search.seed, number]).generate_state(1)[0])
    if search.sampler == "tpe":
        return optuna.samplers.TPESampler(seed=seed)
    return optuna.samplers.RandomSampler(seed=seed)


def _suggested(trial: optuna.Trial, search: Search) -> dict[str, Any]:
    return _as_changes(search, {key: _suggest(trial, key, search) for key in search.space})


def _suggest(trial: optuna.Trial, key: str, search: Search) -> Any:
    values = search.space[key]
    if not isinstance(values, Range):
        return trial.suggest_categorical(key, _texts(values.choices))
    if values.is_whole:
        return trial.suggest_int(key, int(values.low), int(values.high), log=values.log)
    return trial.suggest_float(key, values.low, values.high, log=values.log)


def _as_changes(search: Search, parameters: dict[str, Any]) -> dict[str, Any]:
    return {
        key: value if isinstance(search.space[key], Range) else json.loads(value)
        for key, value in parameters.items()
    }


def _as_parameters(search: Search, changes: dict[str, Any]) -> dict[str, Any]:
    return {
        key: value if isinstance(search.space[key], Range) else json.dumps(value)
        for key, value in changes.items()
    }


def _texts(choices: Sequence[Any]) -> list[str]:
    """Optuna's categories are words and numbers; a setting may be a list or a section."""
    return [json.dumps(choice) for choice in choices]


def _cut_half_line(journal: Path) -> None:
    """Removes what a power cut left of the last line, to which Optuna would add the next one."""
    content = journal.read_bytes() if journal.exists() else b""
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        journal.write_bytes(whole)
