"""Runs the units of a study on this machine, beside any other runners of the same study."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from segduet.core.errors import RequestError
from segduet.scale.claims import HEARTBEAT_S, Claim
from segduet.scale.journal import Happening
from segduet.scale.local_gpus import least_used
from segduet.scale.markers import Ending, refuse_outdated
from segduet.scale.process import SEGDUET, UnitProcess, start_process
from segduet.scale.state import StudyState
from segduet.scale.unit import WorkUnit

#: Between two looks at the processes; a unit of ten seconds loses at most this much, 0.5 %.
POLL_S = 0.05
#: Between two looks at the units that other processes run.
OTHERS_S = 1.0


class UnitStatus(StrEnum):
    """What is known about a unit.

    BLOCKED: a unit that it needs failed, or is itself blocked.
    """

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    BLOCKED = "blocked"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitReport:
    """A unit with its status.

    Attributes:
        reason: why it failed, or what blocks it; empty otherwise.
        exit_code: of the command of a failed unit; 0 for any other.
    """

    name: str
    status: UnitStatus
    reason: str = ""
    exit_code: int = 0


@dataclass(slots=True, kw_only=True)
class _Running:
    claim: Claim
    process: UnitProcess
    gpus: tuple[str, ...]


@dataclass(kw_only=True)
class LocalRunner:
    """Runs units, a few at a time, until each is done, failed or blocked.

    Attributes:
        units: what to run, in the order in which it is tried.
        state: where other runners of the study are met.
        jobs: units at a time.
        on_change: told when a unit is done, failed, or starts.
        launcher: program that takes the units' arguments.
        gpus: shared out among the running units that ask for some.
    """

    units: Sequence[WorkUnit]
    state: StudyState
    jobs: int = 1
    on_change: Callable[[UnitReport], None] = lambda _: None
    launcher: Sequence[str] = SEGDUET
    gpus: Sequence[str] = ()
    _status: dict[str, UnitReport] = field(default_factory=dict, init=False)
    _running: dict[str, _Running] = field(default_factory=dict, init=False)
    _asked_at: dict[str, float] = field(default_factory=dict, init=False)

    def run(self, *, retry_failed: bool) -> tuple[UnitReport, ...]:
        """Runs what is neither done nor failed, and returns what became of every unit.

        Units that another process runs are waited for. Where this is interrupted, the running
        commands are ended and their claims released.

        Args:
            retry_failed: run failed units again.

        Raises:
            RequestError: a unit was done before with other settings or data, or while one that it
                needs is not done, or an input is missing.
        """
        for unit in self.units:
            self._begin(unit, retry_failed=retry_failed)
        done = {n for n, report in self._status.items() if report.status is UnitStatus.DONE}
        refuse_outdated(self.units, done)
        check_inputs([unit for unit in self.units if self._is_open(unit)], self.units)
        try:
            while any(self._is_open(unit) for unit in self.units):
                self._beat()
                if not (self._collect() + self._start_what_can()):
                    time.sleep(POLL_S)
        finally:
            self._stop_all()
        return tuple(self._status[unit.name] for unit in self.units)

    def _begin(self, unit: WorkUnit, *, retry_failed: bool) -> None:
        if retry_failed and not self.state.holder(unit):
            self.state.markers.forget_failure(unit)
        self._status[unit.name] = self._known(unit)

    def _known(self, unit: WorkUnit) -> UnitReport:
        """What the markers say about a unit that does not run here."""
        if self.state.markers.is_done(unit):
            return UnitReport(name=unit.name, status=UnitStatus.DONE)
        failure = self.state.markers.failure(unit)
        if failure is None:
            return UnitReport(name=unit.name, status=UnitStatus.WAITING)
        return _failed(unit, failure)

    def _is_open(self, unit: WorkUnit) -> bool:
        return self._status[unit.name].status in (UnitStatus.WAITING, UnitStatus.RUNNING)

    def _set(self, unit: WorkUnit, status: UnitStatus, reason: str = "") -> None:
        self._tell(UnitReport(name=unit.name, status=status, reason=reason))

    def _tell(self, report: UnitReport) -> None:
        self._status[report.name] = report
        self.on_change(report)

    def _collect(self) -> int:
        """Notes the units whose command has ended; how many."""
        endings = [(name, each.process.ending()) for name, each in self._running.items()]
        ended = [(name, ending) for name, ending in endings if ending is not None]
        for name, ending in ended:
            self._end(self._running.pop(name), ending)
        return len(ended)

    def _end(self, running: _Running, ending: Ending) -> None:
        unit, markers = running.process.unit, self.state.markers
        if not running.claim.is_held:
            self._set(unit, UnitStatus.WAITING)  # the process that took it over tells how it ends
            return
        if ending.reason:
            markers.write_failed(unit, ending)
            self.state.note(unit, Happening.FAILED, ending.reason)
        else:
            markers.write_done(unit, ending)
            self.state.note(unit, Happening.DONE)
        running.claim.release()
        done = UnitReport(name=unit.name, status=UnitStatus.DONE)
        self._tell(_failed(unit, ending) if ending.reason else done)

    def _start_what_can(self) -> int:
        """Starts units, or learns that others ended them; how many changed."""
        changed = 0
        for unit in self.units:
            if len(self._running) >= self.jobs:
                break
            if self._status[unit.name].status is not UnitStatus.WAITING:
                continue
            blocker = self._blocker(unit)
            if blocker:
                self._set(unit, UnitStatus.BLOCKED, f"needs {blocker}")
                changed += 1
            elif self._is_ready(unit):
                changed += self._try(unit)
        return changed

    def _blocker(self, unit: WorkUnit) -> str | None:
        lost = (UnitStatus.FAILED, UnitStatus.BLOCKED)
        known = [self._status[need] for need in unit.needs if need in self._status]
        return next((report.name for report in known if report.status in lost), None)

    def _is_ready(self, unit: WorkUnit) -> bool:
        """Whether its needs are done and it is time to ask for it (again)."""
        needs = [self._status[need] for need in unit.needs if need in self._status]
        if any(report.status is not UnitStatus.DONE for report in needs):
            return False
        return time.monotonic() - self._asked_at.get(unit.name, float("-inf")) >= OTHERS_S

    def _try(self, unit: WorkUnit) -> int:
        """Starts a unit unless another process runs it or has ended it; whether it changed."""
        claim = self.state.try_claim(unit)
        if claim is None:
            self._asked_at[unit.name] = time.monotonic()
            return 0
        known = self._known(unit)
        if known.status is not UnitStatus.WAITING:
            claim.release()
            self._tell(known)
            return 1
        self._launch(unit, claim)
        return 1

    def _launch(self, unit: WorkUnit, claim: Claim) -> None:
        self.state.note(unit, Happening.STARTED)
        in_use = [running.gpus for running in self._running.values()]
        gpus = least_used(self.gpus, unit.resources.gpus, in_use)
        options = self.state.markers.begin(unit)
        process = start_process(
            unit,
            log=self.state.log(unit),
            folder=self.state.work_folder,
            launcher=self.launcher,
            options=options,
            gpus=gpus,
        )
        self._running[unit.name] = _Running(claim=claim, process=process, gpus=gpus)
        claim.add_child(process.process.pid)
        self._set(unit, UnitStatus.RUNNING)

    def _beat(self) -> None:
        """Shows that the claims are alive, and ends commands whose claim was taken over."""
        now = time.monotonic()
        for name, running in self._running.items():
            if now - self._asked_at.get(name, float("-inf")) < HEARTBEAT_S:
                continue
            self._asked_at[name] = now
            running.claim.keep_alive()
            if not running.claim.is_held:
                running.process.end()

    def _stop_all(self) -> None:
        for running in self._running.values():
            running.process.ask_to_end()
        for running in self._running.values():
            running.process.end()
            self.state.note(running.process.unit, Happening.STOPPED, "interrupted")
            running.claim.release()
        self._running.clear()


def _failed(unit: WorkUnit, ending: Ending) -> UnitReport:
    return UnitReport(
        name=unit.name,
        status=UnitStatus.FAILED,
        reason=ending.reason,
        exit_code=ending.exit_code,
    )


def check_inputs(open_units: Sequence[WorkUnit], all_units: Sequence[WorkUnit]) -> None:
    """Refuses units whose inputs are not there and that no other unit makes.

    Args:
        open_units: what is about to be run.
        all_units: those whose outputs will be there in time.

    Raises:
        RequestError: an input is missing; the first one is named.
    """
    made = {output for unit in all_units for output in unit.outputs}
    for unit in open_units:
        missing = [path for path in unit.inputs if path not in made and not path.exists()]
        if missing:
            raise RequestError(
                f"unit {unit.name!r}",
                found=f"no {missing[0]}",
                expected="its inputs on this machine before anything runs",
                remedy="Mount or copy the study's folders here, preprocess the dataset, or correct "
                "the paths in the study file.",
            )
