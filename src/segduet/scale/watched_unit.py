"""A unit that somebody watches while it runs, and may end early."""

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from segduet.scale.journal import Happening
from segduet.scale.local_runner import POLL_S
from segduet.scale.markers import Ending
from segduet.scale.process import SEGDUET, start_process
from segduet.scale.state import StudyState
from segduet.scale.unit import WorkUnit


class RunUnit(Protocol):
    """`run_watched`, or what does the same elsewhere."""

    def __call__(
        self,
        unit: WorkUnit,
        state: StudyState,
        watch: Callable[[], None],
        /,
        *,
        launcher: Sequence[str],
    ) -> str:
        """Runs a unit and says why it failed."""


def run_watched(
    unit: WorkUnit,
    state: StudyState,
    watch: Callable[[], None],
    *,
    launcher: Sequence[str] = SEGDUET,
) -> str:
    """Runs a unit that is not done, and says why it failed; empty where it did not.

    Args:
        unit: what to run; no other process may run it.
        state: where its marker, log and journal lie.
        watch: called again and again while the command runs; what it raises goes through, once the
            command has ended.
        launcher: program that takes the unit's arguments.
    """
    if state.markers.is_done(unit):
        return ""
    state.note(unit, Happening.STARTED)
    process = start_process(
        unit,
        log=state.log(unit),
        folder=state.work_folder,
        launcher=launcher,
        options=state.markers.begin(unit),
    )
    try:
        while (ending := process.ending()) is None:
            watch()
            time.sleep(POLL_S)
    except BaseException:
        state.note(unit, Happening.STOPPED, "ended early")
        raise
    finally:
        process.end()
    _mark(unit, state, ending)
    return ending.reason


def _mark(unit: WorkUnit, state: StudyState, ending: Ending) -> None:
    if ending.reason:
        state.markers.write_failed(unit, ending)
    else:
        state.markers.write_done(unit, ending)
    state.note(unit, Happening.FAILED if ending.reason else Happening.DONE, ending.reason)
