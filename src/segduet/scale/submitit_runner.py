"""A study through submitit's local executor: the road of Slurm's jobs, without Slurm."""

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import submitit
from submitit.helpers import CommandFunction

from segduet.scale.process import GRACE_S
from segduet.scale.submission import Submission, dependency_levels, whole_gpus
from segduet.scale.unit import WorkUnit

_POLL_S = 0.2


def run_with_submitit(
    submission: Submission,
    folder: Path,
    *,
    jobs: int,
    on_ended: Callable[[str], None] = lambda _: None,
) -> None:
    """Runs the units level by level, as `submit.sh` would, and stops after a level with a failure.

    Interrupted, the jobs that run are ended.

    Args:
        submission: what to run.
        folder: for submitit's own files.
        jobs: at a time.
        on_ended: told the name of each unit that came to an end.

    Raises:
        RequestError: a unit that asks for part of a GPU.
    """
    for level in dependency_levels(submission.units):
        batches = [level[start : start + jobs] for start in range(0, len(level), jobs)]
        went_well = [_run(submission, batch, folder, on_ended) for batch in batches]
        if not all(went_well):
            return


def _run(
    submission: Submission,
    units: Sequence[WorkUnit],
    folder: Path,
    on_ended: Callable[[str], None],
) -> bool:
    """Whether every unit ended well."""
    went_well = True
    with _ended_together() as running:
        running += [_submitted(submission, unit, folder) for unit in units]
        for unit, job in zip(units, running, strict=True):
            went_well &= job.exception() is None
            on_ended(unit.name)
    return went_well


def _submitted(submission: Submission, unit: WorkUnit, folder: Path) -> "submitit.Job[str]":
    executor = submitit.LocalExecutor(folder)
    executor.update_parameters(
        timeout_min=math.ceil(unit.resources.hours * 60), gpus_per_node=whole_gpus(unit, "Slurm")
    )
    return executor.submit(CommandFunction(list(submission.command(unit.name)), verbose=False))


@contextlib.contextmanager
def _ended_together() -> Iterator["list[submitit.Job[str]]"]:
    """A list of jobs; those still running when the block is left have ended afterwards."""
    running: list[submitit.Job[str]] = []
    try:
        yield running
    finally:
        for job in running:
            job.cancel(check=False)
        until = time.monotonic() + 2 * GRACE_S
        while time.monotonic() < until and not all(job.done() for job in running):
            time.sleep(_POLL_S)
