"""The fastest way of computing a training's steps on this machine, found by trying."""

import copy
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch

from segduet.core.errors import RequestError
from segduet.training.compiling import obstacle_to_compiling
from segduet.training.devices import Compute, Precision, Trial, has_bf16
from segduet.training.interference import InterferenceMonitor
from segduet.training.loop import TrainingJob, initial_state
from segduet.training.samples import Batch, batches
from segduet.training.step import train_step

_NUM_TIMED_STEPS = 3
#: Steps before the timed ones: memory is reserved, programs are compiled.
_NUM_FIRST_STEPS = 2
#: A shorter training cannot win back what compiling takes, and is not even tried compiled.
SHORTEST_COMPILED_S = 120.0


def measured_compute(job: TrainingJob) -> Compute:
    """The way of computing with which the whole training ends first, with all that were tried.

    Precisions (the recipe's, or with `auto` fp32 and bf16) are tried as they are; the faster one
    is tried compiled too, where this machine can compile and the training is long enough to win
    the time back. Steps are real ones, on copies of everything that a step changes: weights,
    balancer and random numbers of the job stay as they are.

    Args:
        job: not yet begun.

    Raises:
        DataError, TrainingError: as in training.
    """
    with torch.random.fork_rng(_cuda_devices(job)):
        shown = list(_first_batches(job))
        trials = [_trial(job, precision, shown) for precision in _precisions(job)]
        fastest = min(trials, key=_step_seconds)
        trials.append(_compiled_trial(job, fastest, shown))
    tried = [trial for trial in trials if trial.step_seconds is not None]
    best = min(tried, key=lambda trial: whole_seconds(trial, job.recipe.num_steps))
    return replace(
        job.compute, precision=best.precision, compiled=best.compiled, trials=tuple(trials)
    )


def whole_seconds(trial: Trial, num_steps: int) -> float:
    """Seconds of a training of so many steps, compilation included."""
    return trial.compile_seconds + num_steps * _step_seconds(trial)


def _step_seconds(trial: Trial) -> float:
    assert trial.step_seconds is not None
    return trial.step_seconds


def _cuda_devices(job: TrainingJob) -> list[torch.device]:
    device = job.compute.device
    return [device] if device.type == "cuda" else []


def _first_batches(job: TrainingJob) -> Iterator[Batch]:
    return batches(
        job.patches,
        batch_size=job.batch_size,
        first_step=0,
        last_step=_NUM_TIMED_STEPS,
        workers=0,
        processes=job.processes,
    )


def _precisions(job: TrainingJob) -> tuple[Precision, ...]:
    if job.recipe.precision != "auto":
        return (job.compute.precision,)
    return ("fp32", "bf16") if has_bf16(job.compute.device) else ("fp32",)


def _compiled_trial(job: TrainingJob, fastest: Trial, shown: Sequence[Batch]) -> Trial:
    """The fastest precision compiled, or why it was not tried."""
    seconds = whole_seconds(fastest, job.recipe.num_steps)
    if not job.recipe.can_be_compiled:
        reason = f"balancing {job.recipe.balancing.kind} cannot be compiled"
    elif seconds < SHORTEST_COMPILED_S:
        reason = f"the whole training takes {seconds:.0f} s, too short to win the time back"
    else:
        reason = obstacle_to_compiling(job.compute.device)
    try:
        if not reason:
            return _trial(job, fastest.precision, shown, compiled=True)
    except RequestError as error:  # the compiler failed
        reason = error.found
    return replace(fastest, compiled=True, step_seconds=None, reason=reason)


def _trial(
    job: TrainingJob, precision: Precision, shown: Sequence[Batch], *, compiled: bool = False
) -> Trial:
    compute = replace(job.compute, precision=precision, compiled=compiled)
    copied = replace(
        job,
        network=copy.deepcopy(job.network),
        balancer=copy.deepcopy(job.balancer),
        compute=compute,
    )
    seconds = _seconds_of_steps(copied, shown)
    step_seconds = statistics.median(seconds[_NUM_FIRST_STEPS:])
    first = sum(seconds[:_NUM_FIRST_STEPS]) - _NUM_FIRST_STEPS * step_seconds
    return Trial(
        precision=precision,
        compiled=compiled,
        step_seconds=round(step_seconds, 4),
        compile_seconds=round(max(0.0, first), 1) if compiled else 0.0,
    )


def _seconds_of_steps(job: TrainingJob, shown: Sequence[Batch]) -> list[float]:
    state = initial_state(job)
    monitor = InterferenceMonitor(job.recipe.interference, job.patches.tasks, job.processes)
    seconds = []
    for number in range(_NUM_FIRST_STEPS + _NUM_TIMED_STEPS):
        started = time.perf_counter()
        train_step(
            state,
            shown[number % len(shown)],
            job.objective,
            job.recipe,
            job.compute,
            monitor=monitor,
        )
        seconds.append(time.perf_counter() - started)
    return seconds
