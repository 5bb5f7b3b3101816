"""The fastest way of computing a training's steps on this machine, found by trying."""

import copy
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch

from segduet.core.errors import RequestError
from segduet.training.bf16_gradients import obstacle_to_bf16
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

    Precisions (the recipe's, or with `auto` fp32 and, where its gradients are right, bf16) are
    tried as they are; the faster one is tried compiled too, where this machine can compile and the
    training is long enough to win the time back. Steps are real ones, on copies of everything that
    a step changes: weights, balancer and random numbers of the job stay as they are. A way that
    needs more memory than there is is out.

    Args:
        job: not yet begun.

    Raises:
        RequestError: nothing that was tried has enough memory.
        DataError, TrainingError: as in training.
    """
    with torch.random.fork_rng(_cuda_devices(job)):
        shown = list(_first_batches(job))
        trials = [_plain_trial(job, precision, shown) for precision in _precisions(job)]
        fastest = min(_tried(trials), key=_step_seconds)
        trials.append(_compiled_trial(job, fastest, shown))
    best = min(_tried(trials), key=lambda trial: whole_seconds(trial, job.recipe.num_steps))
    return replace(
        job.compute, precision=best.precision, compiled=best.compiled, trials=tuple(trials)
    )


def whole_seconds(trial: Trial, num_steps: int) -> float:
    """Seconds of a training of so many steps, compilation included."""
    return trial.compile_seconds + num_steps * _step_seconds(trial)


def _tried(trials: Sequence[Trial]) -> list[Trial]:
    found = [trial for trial in trials if trial.step_seconds is not None]
    if not found:
        raise RequestError(
            "recipe, compute=measured",
            found="; ".join(f"{trial.precision}: {trial.reason}" for trial in trials),
            expected="a way of computing that this machine can go",
            remedy="Lower batch_size, or train on a device with more memory.",
        )
    return found


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


def _plain_trial(job: TrainingJob, precision: Precision, shown: Sequence[Batch]) -> Trial:
    """A precision as it is, or why it was not tried."""
    if precision == "bf16":
        window = shown[0].image.shape[1:]
        obstacle = obstacle_to_bf16(job.network, window, job.compute.device)
        if obstacle:
            return Trial(precision=precision, compiled=False, reason=obstacle)
    return _trial(job, precision, shown)


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
    if compute.device.type == "cuda":
        torch.cuda.empty_cache()  # of what the trial before reserved
    try:
        seconds = _seconds_of_steps(_copied(job, compute), shown)
    except RuntimeError as error:
        if not _is_out_of_memory(error):
            raise
        return Trial(precision=precision, compiled=compiled, reason="not enough memory")
    step_seconds = statistics.median(seconds[_NUM_FIRST_STEPS:])
    first = sum(seconds[:_NUM_FIRST_STEPS]) - _NUM_FIRST_STEPS * step_seconds
    return Trial(
        precision=precision,
        compiled=compiled,
        step_seconds=round(step_seconds, 4),
        compile_seconds=round(max(0.0, first), 1) if compiled else 0.0,
    )


def _copied(job: TrainingJob, compute: Compute) -> TrainingJob:
    return replace(
        job,
        network=copy.deepcopy(job.network),
        balancer=copy.deepcopy(job.balancer),
        objective=job.objective.computed_with(compute),
        compute=compute,
    )


def _is_out_of_memory(error: RuntimeError) -> bool:
    # the CPU allocator has no error class of its own
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


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
