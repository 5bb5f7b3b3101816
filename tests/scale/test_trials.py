"""F60: trials in a journal: each sampler as promised, and nothing lost when the process dies."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from segduet.core.errors import RequestError
from segduet.scale.search_space import Choices, Range, Search
from segduet.scale.trials import TrialRecord, Trials

_PLANE = {"x": Range(low=0.0, high=1.0), "y": Range(low=0.0, high=1.0)}


def _search(**changes: Any) -> Search:
    return Search(**{"space": _PLANE, "trials": 4, "objectives": ("dsc",), **changes})


def _score(changes: dict[str, Any]) -> float:
    """Largest, 1, at (0.3, 0.7)."""
    return 1 - (changes["x"] - 0.3) ** 2 - (changes["y"] - 0.7) ** 2


def _begun(trials: Trials) -> Iterator[tuple[int, dict[str, Any]]]:
    while (trial := trials.begin()) is not None:
        yield trial


def _run_all(trials: Trials) -> list[dict[str, Any]]:
    for number, changes in _begun(trials):
        values = (_score(changes),)
        record = TrialRecord(number=number, state="complete", changes=changes, values=values)
        trials.end(record)
    return [record.changes for record in trials.ended()]


def test_tpe_comes_closer_than_random_and_a_grid_does_neither(tmp_path: Path) -> None:
    late = {}
    for sampler in ("tpe", "random"):
        tried = _run_all(Trials(tmp_path / sampler, _search(sampler=sampler, trials=20)))
        late[sampler] = sum(_score(changes) for changes in tried[-6:]) / 6
    assert late["tpe"] > late["random"] + 0.05
    space = {"x": Choices(choices=(0, 0.5)), "y": Choices(choices=(0, [1, 2], "word"))}
    tried = []
    trials = Trials(tmp_path / "grid", _search(sampler="grid", space=space, trials=99))
    for number, changes in _begun(trials):
        tried.append(changes)
        trials.end(TrialRecord(number=number, state="failed", changes=changes, reason="no"))
    assert tried == [{"x": x, "y": y} for x in (0, 0.5) for y in (0, [1, 2], "word")]


def test_a_search_that_was_killed_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    undisturbed = _run_all(Trials(tmp_path / "one", _search(sampler="random")))
    first = Trials(tmp_path / "two", _search(sampler="random"))
    number, changes = next(_begun(first))
    first.end(TrialRecord(number=number, state="complete", changes=changes, values=(1.0,)))
    open_one = next(_begun(first))  # and here the process dies
    second = Trials(tmp_path / "two", _search(sampler="random"))
    assert second.left_open() == [open_one]
    number, changes = open_one
    second.end(TrialRecord(number=number, state="complete", changes=changes, values=(1.0,)))
    assert _run_all(second) == undisturbed


def test_half_a_line_of_a_power_cut_is_no_end(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    before = _run_all(Trials(journal, _search(trials=2)))
    with journal.open("a") as stream:
        stream.write('{"op_code": 4, "work')
    assert _run_all(Trials(journal, _search(trials=3)))[:2] == before


def test_how_a_trial_ended_is_kept(tmp_path: Path) -> None:
    trials = Trials(tmp_path / "journal", _search(objectives=("dsc", "seconds_per_case")))
    (n0, c0), (n1, c1), (n2, c2) = (next(_begun(trials)) for _ in range(3))
    records = [
        TrialRecord(number=n0, state="complete", changes=c0, values=(0.5, 2.0), curve=(0.1, 0.5)),
        TrialRecord(number=n1, state="pruned", changes=c1, curve=(0.1,), reason="behind"),
        TrialRecord(number=n2, state="failed", changes=c2, reason="memory"),
    ]
    for record in reversed(records):
        trials.end(record)
    assert (
        Trials(tmp_path / "journal", _search(objectives=("dsc", "seconds_per_case"))).ended()
        == records
    )


def test_more_trials_may_be_asked_for_and_nothing_else_changed(tmp_path: Path) -> None:
    first = _run_all(Trials(tmp_path / "journal", _search()))
    more = _run_all(Trials(tmp_path / "journal", _search(trials=6)))
    assert len(more) == 6
    assert more[:4] == first
    with pytest.raises(RequestError, match="a search with another 'seed'"):
        Trials(tmp_path / "journal", _search(seed=1))
