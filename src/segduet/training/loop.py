"""The training loop: epochs of steps, a checkpoint after each, history, validation, selection."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from segduet.balancing.protocol import Balancer
from segduet.core.errors import RequestError, TrainingError
from segduet.core.labels import LabelScheme
from segduet.networks.joint import JointNetwork
from segduet.training.agreement import require_equal_states
from segduet.training.averaging import build_average, has_batch_norm, refresh_batch_norm
from segduet.training.averaging_config import SwaConfig
from segduet.training.checkpoint import (
    TrainingState,
    load_checkpoint,
    save_checkpoint,
    write_model,
)
from segduet.training.compiling import CompiledNetwork
from segduet.training.config import Recipe
from segduet.training.devices import Compute
from segduet.training.early_stopping import PlateauWatch, anneal_factor
from segduet.training.history import HistoryLog
from segduet.training.interference import InterferenceMonitor
from segduet.training.objective import Objective
from segduet.training.optimizers import build_optimizer, set_rate
from segduet.training.patch_validation import preview_patches, validate_patches
from segduet.training.processes import ONE_PROCESS, Processes
from segduet.training.progress import Progress, RateMeter
from segduet.training.samples import Batch, PatchDataset, batches
from segduet.training.schedule import rate_factor
from segduet.training.selection import (
    periodic_model,
    periodic_models,
    require_known_names,
    selection_formula,
    selection_score,
)
from segduet.training.shared_layers import share_layers
from segduet.training.step import train_step
from segduet.training.thermal import Pause, ThermalGuard

CHECKPOINT = "checkpoint_latest.safetensors"
BEST_MODEL = "model_best.safetensors"


def _say_nothing(_: Progress) -> None:
    """A progress display that is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingJob:
    """Everything a training needs, built beforehand.

    Attributes:
        validation_patches: dataset of un-augmented validation patches; None without validation
            cases.
        validate_full: measures both tasks on the full validation cases: `score` (the joint score
            of the `best_joint` rule), `dsc` (region -> mean or None), `task_score` (task -> value
            or None), and, where wanted in TensorBoard, `confusion` (task -> `classes` and
            `counts`). None without such cases.
        batch_size: of all processes together.
        workers: of each process.
        run_folder: only the first process writes there.
        until_epoch: stop (resumable) after this many epochs; None trains to the end.
        thermal: pauses while the machine is too hot; None never does.
        model_header: what the header of every model kept on the way begins with, so that it can be
            opened like the finished one.
    """

    network: JointNetwork
    objective: Objective
    balancer: Balancer
    recipe: Recipe
    compute: Compute
    labels: LabelScheme
    patches: PatchDataset
    validation_patches: PatchDataset | None
    validate_full: Callable[[JointNetwork], Mapping[str, Any]] | None
    batch_size: int
    workers: int
    run_folder: Path
    on_progress: Callable[[Progress], None] = _say_nothing
    until_epoch: int | None = None
    thermal: ThermalGuard | None = None
    model_header: Mapping[str, Any] = field(default_factory=dict)

    @property
    def processes(self) -> Processes:
        """Who shares out every batch."""
        return self.compute.processes


def train(job: TrainingJob, *, resume: bool) -> TrainingState:
    """Trains to the end (or `until_epoch`) and returns the state; `state.model` is the model.

    Same seed, same thread count, same device, same number of processes: same weights, interrupted
    or not (B10). With another number of processes the samples are the same, and so is everything
    else but for rounding.

    Raises:
        TrainingError: a loss is not finite, a worker process died, or processes that train
            together have come to different weights.
        DataError, RequestError: the checkpoint to resume from is damaged or of another recipe.
        RequestError: selection or early stopping asks for what these data do not have.
        StorageError: a checkpoint could not be written; the previous one is intact.
    """
    _require_measurable(job)
    torch.manual_seed(job.recipe.seed)
    state = initial_state(job)
    checkpoint = job.run_folder / CHECKPOINT
    if resume:
        load_checkpoint(checkpoint, state, job.recipe)
    require_equal_states(state, job.processes)
    if not job.processes.is_first:
        _train_epochs(job, state, _write_nothing)
    else:
        if not resume:
            for earlier in periodic_models(job.run_folder):
                earlier.unlink()
            save_checkpoint(checkpoint, state, job.recipe)
        with contextlib.closing(HistoryLog(job.run_folder, first_epoch=state.epoch)) as log:
            _train_epochs(job, state, lambda: _write_epoch(job, state, log))
    job.processes.wait_for_all()
    return state


def _write_nothing() -> None:
    """What a process writes that is not the first."""


def _write_epoch(job: TrainingJob, state: TrainingState, log: HistoryLog) -> None:
    every = job.recipe.details_every
    save_checkpoint(job.run_folder / CHECKPOINT, state, job.recipe)
    log.write(state.history)
    if every and (state.is_finished or _is_due(every, state.epoch)):
        log.write_details(state.network, _pictures(job, state), epoch=state.epoch - 1)


def _require_measurable(job: TrainingJob) -> None:
    require_known_names(
        job.recipe.validation, regions=list(job.labels.foreground), tasks=list(job.objective.tasks)
    )
    needs_cases = [
        name
        for name, is_wanted in (
            ("early_stopping", job.recipe.early_stopping.kind != "off"),
            ("validation.selection", job.recipe.validation.selection != "last"),
        )
        if is_wanted
    ]
    if needs_cases and job.validation_patches is None:
        raise RequestError(
            " and ".join(needs_cases),
            found="a fold without validation cases",
            expected="validation cases to measure on",
            remedy="Train a fold that has some, or switch this off.",
        )


def initial_state(job: TrainingJob) -> TrainingState:
    """The state before the first step; the job's network and balancer become part of it."""
    network = job.network.to(job.compute.device).train()
    share_layers(network, job.processes)
    recipe = job.recipe
    return TrainingState(
        network=network,
        program=CompiledNetwork(network) if job.compute.compiled else None,
        compute=job.compute.record(),
        average=build_average(recipe.averaging, network, num_epochs=recipe.epochs),
        optimizer=build_optimizer(network, recipe.optimizer, job.balancer.parameters()),
        scaler=job.compute.gradient_scaler(),
        balancer=job.balancer,
        num_epochs=recipe.epochs,
        stopping=PlateauWatch.of(recipe.early_stopping),
    )


def _train_epochs(job: TrainingJob, state: TrainingState, write: Callable[[], None]) -> None:
    recipe = job.recipe
    last_epoch = min(state.num_epochs, job.until_epoch or state.num_epochs)
    stream = batches(
        job.patches,
        batch_size=job.batch_size,
        first_step=state.epoch * recipe.steps_per_epoch,
        last_step=last_epoch * recipe.steps_per_epoch,
        workers=job.workers,
        processes=job.processes,
    )
    meter = RateMeter()
    while state.epoch < min(last_epoch, state.num_epochs):
        record = _train_epoch(job, state, stream, meter)
        _end_epoch(job, state, record)
        require_equal_states(state, job.processes)
        write()


def _train_epoch(
    job: TrainingJob, state: TrainingState, stream: Iterator[Batch], meter: RateMeter
) -> dict[str, Any]:
    recipe, started = job.recipe, time.perf_counter()
    state.network.train()
    sums: dict[str, float] = {}
    pauses: list[Pause] = []
    monitor = InterferenceMonitor(recipe.interference, job.patches.tasks, job.processes)
    rate = 0.0
    for position in range(recipe.steps_per_epoch):
        step = state.epoch * recipe.steps_per_epoch + position
        if job.thermal and (pause := job.thermal.wait(step)):
            pauses.append(pause)
            meter.exclude(pause.seconds)
        rate = set_rate(state.optimizer, _rate_factor(state, recipe, step))
        batch = _next(stream)
        losses = train_step(state, batch, job.objective, recipe, job.compute, monitor=monitor)
        for name, value in losses.items():
            sums[name] = sums.get(name, 0.0) + value
        means = {name: total / (position + 1) for name, total in sums.items()}
        num_steps = state.num_epochs * recipe.steps_per_epoch
        job.on_progress(meter.progress(state.epoch, step + 1, num_steps, means))
    record = {
        "epoch": state.epoch,
        "train": means,
        "learning_rate": rate,
        "weights": state.balancer.weights(state.epoch),
        "seconds": round(time.perf_counter() - started - sum(p.seconds for p in pauses), 3),
        **_pause_record(pauses),
    }
    monitor.finish(record, state.history)
    return record


def _rate_factor(state: TrainingState, recipe: Recipe, step: int) -> float:
    """The schedule's factor, or from the stop on a straight line from there to zero."""
    stopped = state.stopping.stopped_epoch if state.stopping else None
    if stopped is None:
        return rate_factor(step, recipe.num_steps, recipe.schedule)
    first_step = stopped * recipe.steps_per_epoch
    last_step = state.num_epochs * recipe.steps_per_epoch
    at_stop = rate_factor(first_step, recipe.num_steps, recipe.schedule)
    return at_stop * anneal_factor(step, first_step=first_step, last_step=last_step)


def _pause_record(pauses: list[Pause]) -> dict[str, Any]:
    if not pauses:
        return {}
    return {
        "pauses": [pause.to_json() for pause in pauses],
        "paused_seconds": round(sum(pause.seconds for pause in pauses), 3),
    }


def _end_epoch(job: TrainingJob, state: TrainingState, record: dict[str, Any]) -> None:
    """Average, validation, balancer, selection, early stopping, in this order; counts the epoch."""
    validation = job.recipe.validation
    if state.average:
        state.average.end_epoch(state.network, epoch=state.epoch)
    if state.epoch + 1 == state.num_epochs:
        _refresh_average(job, state)
    record["validation"] = _validate_patches(job, state)
    state.balancer.end_epoch(record)
    state.epoch += 1
    state.history.append(record)
    if job.validate_full and _is_due(validation.full_cases_every, state.epoch):
        record["full_case"] = dict(job.validate_full(_model(state)))
        _select(job, state, record["full_case"])
    _watch_for_plateau(job, state, record)
    if _is_due(job.recipe.keep_every, state.epoch) and not state.is_finished:
        _keep_model(job, state, periodic_model(job.run_folder, state.epoch))


def _keep_model(job: TrainingJob, state: TrainingState, target: Path, **more: Any) -> None:
    if job.processes.is_first:
        write_model(target, state.model, {**job.model_header, "epoch": state.epoch, **more})


def _refresh_average(job: TrainingJob, state: TrainingState) -> None:
    """Statistics of batch normalisation for a finished plain average, from training patches."""
    if not (isinstance(job.recipe.averaging, SwaConfig) and has_batch_norm(state.model)):
        return
    stream = batches(
        job.patches,
        batch_size=job.batch_size,
        first_step=0,
        last_step=job.recipe.steps_per_epoch,
        workers=0,
        processes=job.processes,
    )
    refresh_batch_norm(state.model, stream, job.compute)


def _watch_for_plateau(job: TrainingJob, state: TrainingState, record: dict[str, Any]) -> None:
    if state.stopping is None:
        return
    if state.stopping.observe(record, finished_epochs=state.epoch):
        anneal_epochs = state.stopping.config.anneal_epochs
        state.num_epochs = min(job.recipe.epochs, state.epoch + anneal_epochs)
    record["early_stopping"] = {**state.stopping.to_json(), "reason": state.stopping.reason}


def _next(stream: Iterator[Batch]) -> Batch:
    try:
        return next(stream)
    except RuntimeError as error:
        raise TrainingError(
            "loading training patches",
            found=str(error).strip().splitlines()[-1],
            expected="worker processes that stay alive and readable prepared cases",
            remedy="Free memory or use --workers 0 to see the cause; go on with --resume.",
        ) from error


def _validate_patches(job: TrainingJob, state: TrainingState) -> dict[str, float | None]:
    count = job.recipe.validation.patches_per_epoch
    if job.validation_patches is None or count == 0:
        return {}
    num_batches = -(-count // job.batch_size)
    stream = _validation_stream(job, num_batches=num_batches, processes=job.processes)
    measured = validate_patches(_model(state), stream, job.objective, job.labels, job.compute)
    weights = state.balancer.weights(state.epoch)
    loss = sum(weight * (measured[name] or 0.0) for name, weight in weights.items())
    return {"loss": loss, **measured}


def _pictures(job: TrainingJob, state: TrainingState) -> dict[str, np.ndarray]:
    if job.validation_patches is None:
        return {}
    (batch,) = _validation_stream(job, num_batches=1, processes=ONE_PROCESS)
    return preview_patches(_model(state), batch, job.labels, job.compute)


def _validation_stream(
    job: TrainingJob, *, num_batches: int, processes: Processes
) -> Iterator[Batch]:
    """The same un-augmented patches every time."""
    assert job.validation_patches is not None
    return batches(
        job.validation_patches,
        batch_size=job.batch_size,
        first_step=0,
        last_step=num_batches,
        workers=0,
        processes=processes,
    )


def _model(state: TrainingState) -> JointNetwork:
    model = state.model
    assert isinstance(model, JointNetwork)
    return model


def _is_due(every: int, finished_epochs: int) -> bool:
    return every > 0 and finished_epochs % every == 0


def _select(job: TrainingJob, state: TrainingState, full_case: Mapping[str, Any]) -> None:
    """Keeps the best weights under the declared rule; does nothing under `last`."""
    score = selection_score(full_case, job.recipe.validation)
    if score is None:
        return
    state.num_candidates += 1
    if state.best_score is None or score > state.best_score:
        state.best_score = score
        formula = selection_formula(job.recipe.validation)
        _keep_model(job, state, job.run_folder / BEST_MODEL, score=score, formula=formula)
