"""`segduet run`: the units of a study on this machine, or the one that an engine asks for."""

import contextlib
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from segduet.core.errors import RequestError
from segduet.core.manifest import RunManifest, utc
from segduet.scale.expansion import expand
from segduet.scale.local_gpus import visible_gpus
from segduet.scale.local_runner import LocalRunner, UnitReport, UnitStatus
from segduet.scale.state import StudyState
from segduet.scale.study import Study, load_study
from segduet.scale.unit import WorkUnit


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyRequest:
    """Which units to run, and how.

    Attributes:
        study: the study file.
        only: names of units; none runs all. What is named is run again if it failed.
        jobs: units at a time, > 0.
        retry_failed: run failed units again.
    """

    study: Path
    only: Sequence[str] = ()
    jobs: int = 1
    retry_failed: bool = False


def run_study(
    request: StudyRequest, on_change: Callable[[UnitReport, float], None] = lambda *_: None
) -> RunManifest:
    """Runs the units of a study that are not done; see `LocalRunner`.

    Args:
        request: what to run.
        on_change: told what became of a unit, and the share of the units that have come to an end.

    Returns:
        The manifest; `outcome["counts"]` says how many units are in which state.

    Raises:
        RequestError: a study that cannot be run, an unknown unit, one whose needs are not done, an
            input that is not there, or units that were done with other settings.
        DataError: an entry of the study, or a file of the dataset, is not what it should be.
        KeyboardInterrupt: interrupted or asked to end; the commands have ended.
    """
    started = time.time()
    study = load_study(request.study)
    units = expand(study)
    state = StudyState.of(study)
    chosen = _chosen(study, units, request.only) if request.only else units
    _require_needs(state, chosen, units)
    ended: set[str] = set()

    def tell(report: UnitReport) -> None:
        if report.status not in (UnitStatus.RUNNING, UnitStatus.WAITING):
            ended.add(report.name)
        on_change(report, len(ended) / len(chosen))

    runner = LocalRunner(
        units=chosen,
        state=state,
        jobs=request.jobs,
        on_change=tell,
        gpus=visible_gpus(os.environ),
    )
    with ended_like_interrupted():
        reports = runner.run(retry_failed=request.retry_failed or bool(request.only))
    manifest = RunManifest(
        command="run",
        arguments={
            "study": str(study.source),
            "only": list(request.only),
            "jobs": request.jobs,
            "retry_failed": request.retry_failed,
        },
        outcome=study_outcome(study, reports),
        started=utc(started),
        seconds=time.time() - started,
    )
    if not request.only:  # one unit's record is its marker; many may end at the same time
        manifest.write(study.out_folder)
    return manifest


def list_study(path: Path, only: Sequence[str] = ()) -> dict[str, Any]:
    """The units of a study with their states; nothing is run.

    Args:
        path: the study file.
        only: names of units; none lists all.

    Raises:
        RequestError, DataError: as `run_study`.
    """
    study = load_study(path)
    units, state = expand(study), StudyState.of(study)
    units = tuple(_chosen(study, units, only)) if only else units
    reports = [_report(state, unit) for unit in units]
    outcome = study_outcome(study, reports)
    for unit in units:
        outcome["units"][unit.name] |= {"needs": list(unit.needs), "command": list(unit.command)}
    return outcome


def _report(state: StudyState, unit: WorkUnit) -> UnitReport:
    if state.markers.is_done(unit):
        return UnitReport(name=unit.name, status=UnitStatus.DONE)
    holder, failure = state.holder(unit), state.markers.failure(unit)
    if holder:
        return UnitReport(name=unit.name, status=UnitStatus.RUNNING, reason=f"by {holder}")
    if failure:
        return UnitReport(name=unit.name, status=UnitStatus.FAILED, reason=failure.reason)
    return UnitReport(name=unit.name, status=UnitStatus.WAITING)


def study_outcome(study: Study, reports: Sequence[UnitReport]) -> dict[str, Any]:
    """What a manifest says of a study: units by state, and each with its reason."""
    counts = Counter(report.status for report in reports)
    return {
        "study": study.name,
        "out": str(study.out_folder),
        "counts": {str(status): counts[status] for status in UnitStatus},
        "units": {
            report.name: {
                "status": str(report.status),
                "reason": report.reason,
                "exit_code": report.exit_code,
            }
            for report in reports
        },
    }


def _chosen(study: Study, units: Sequence[WorkUnit], names: Sequence[str]) -> list[WorkUnit]:
    known = {unit.name for unit in units}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise RequestError(
            f"--only {unknown[0]}",
            found=f"no such unit among the {len(units)} of {study.source}",
            expected="the name of a unit",
            remedy="List them with `segduet run STUDY.yaml --list`.",
        )
    return [unit for unit in units if unit.name in names]


def _require_needs(
    state: StudyState, chosen: Sequence[WorkUnit], units: Sequence[WorkUnit]
) -> None:
    """An engine must not start a unit before the units it needs."""
    names = {unit.name for unit in chosen}
    by_name = {unit.name: unit for unit in units}
    for unit in chosen:
        for need in unit.needs:
            if need not in names and not state.markers.is_done(by_name[need]):
                raise RequestError(
                    f"unit {unit.name!r}",
                    found=f"that {need!r}, which it needs, is not done",
                    expected="every need done, or named with --only as well",
                    remedy="Run that unit first; `segduet run STUDY.yaml` keeps the order itself.",
                )


@contextlib.contextmanager
def ended_like_interrupted() -> Iterator[None]:
    """SIGTERM, by which engines end a job, is met like Ctrl-C: commands end, claims are freed."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
