"""Runs the units of a study on Ray: each unit a task, with what it may use set aside for it."""

import itertools
import signal
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from segduet.scale.local_runner import LocalRunner, UnitReport, UnitStatus
from segduet.scale.process import GRACE_S, SEGDUET
from segduet.scale.ray_cluster import cancel_unfinished, require_room, set_aside
from segduet.scale.state import StudyState
from segduet.scale.submission import dependency_levels
from segduet.scale.unit import WorkUnit

#: A task whose worker died is started again so often, on any node.
CRASH_RETRIES = 5
#: Between two looks at the keyboard while tasks run.
_POLL_S = 0.5

_LOST = (UnitStatus.FAILED, UnitStatus.BLOCKED)


def run_on_ray(
    units: Sequence[WorkUnit],
    state: StudyState,
    on_change: Callable[[UnitReport], None] = lambda _: None,
    *,
    retry_failed: bool = False,
    launcher: Sequence[str] = SEGDUET,
) -> tuple[UnitReport, ...]:
    """Runs what is neither done nor failed, and returns what became of every unit.

    Ray must be connected. A unit waits for those it needs; each takes its claim and leaves its
    marker as on one machine, so this may be stopped and started again, or run beside other runners.
    Where it is interrupted, tasks are cancelled and their commands have ended on return.

    Args:
        units: those of the study; needs that are not among them are complete.
        state: in a folder that every node sees under the same path.
        on_change: told what became of a unit.
        retry_failed: run failed units again.
        launcher: program that takes the units' arguments.

    Raises:
        RequestError: a unit that no node could run, that was done with other settings, or whose
            inputs are not there on the node that got it.
    """
    if retry_failed:
        for unit in units:
            if not state.holder(unit):
                state.markers.forget_failure(unit)
    require_room(units)
    tasks: dict[str, Any] = {}
    for unit in itertools.chain.from_iterable(dependency_levels(units)):
        needs = [tasks[name] for name in unit.needs if name in tasks]
        task = _run_unit.options(name=unit.name, **set_aside(unit.resources))
        tasks[unit.name] = task.remote(unit, state, tuple(launcher), *needs)
    try:
        reports = _collected(tasks, {unit.name: unit for unit in units}, on_change)
        return tuple(reports[unit.name] for unit in units)
    except BaseException:
        cancel_unfinished(list(tasks.values()), grace_s=2 * GRACE_S)
        raise


def run_watched_on_ray(
    unit: WorkUnit,
    state: StudyState,
    watch: Callable[[], None],
    *,
    launcher: Sequence[str] = SEGDUET,
) -> str:
    """`run_watched` with the command on a node of the connected cluster; for many threads at once.

    Raises:
        RequestError: no node could ever run it, or its inputs are not on the one that got it.
    """
    require_room([unit])
    task = _run_unit.options(name=unit.name, **set_aside(unit.resources)).remote(
        unit, state, tuple(launcher)
    )
    try:
        while not ray.wait([task], timeout=_POLL_S)[0]:
            watch()
    except BaseException:
        cancel_unfinished([task], grace_s=2 * GRACE_S)
        raise
    return _report(unit, task, {}).reason


@ray.remote(max_retries=CRASH_RETRIES)  # type: ignore[untyped-decorator,unused-ignore]
def _run_unit(
    unit: WorkUnit, state: StudyState, launcher: tuple[str, ...], *needs: UnitReport
) -> UnitReport:
    """One unit, on the node and in the process that Ray chose."""
    lost = [need.name for need in needs if need.status in _LOST]
    if lost:
        return _blocked(unit.name, lost[0])
    # Ray cancels a task by this signal, which whatever a shell starts in the background ignores
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return LocalRunner(units=[unit], state=state, launcher=launcher).run(retry_failed=False)[0]


def _collected(
    tasks: Mapping[str, Any],
    units: Mapping[str, WorkUnit],
    on_change: Callable[[UnitReport], None],
) -> dict[str, UnitReport]:
    names = {task: name for name, task in tasks.items()}
    reports: dict[str, UnitReport] = {}
    waiting = list(names)
    while waiting:
        ended, waiting = ray.wait(waiting, timeout=_POLL_S)
        for task in ended:
            name = names[task]
            reports[name] = _report(units[name], task, reports)
            on_change(reports[name])
    return reports


def _report(unit: WorkUnit, task: Any, known: Mapping[str, UnitReport]) -> UnitReport:
    """What a task returned; where its workers died, that."""
    try:
        report: UnitReport = ray.get(task)
    except RayTaskError as error:
        raise error.cause from None  # of our own, as on one machine
    except RayError as error:
        lost = [n for n in unit.needs if n in known and known[n].status in _LOST]
        if lost:
            return _blocked(unit.name, lost[0])
        reason = f"its worker died {CRASH_RETRIES + 1} times: {str(error).splitlines()[0]}"
        return UnitReport(name=unit.name, status=UnitStatus.FAILED, reason=reason, exit_code=1)
    return report


def _blocked(name: str, need: str) -> UnitReport:
    return UnitReport(name=name, status=UnitStatus.BLOCKED, reason=f"needs {need}")
