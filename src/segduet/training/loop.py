"""The training loop: epochs of steps, a checkpoint after each, history, validation, selection."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from segduet.balancing.protocol import Balancer
from segduet.core.errors import TrainingError
from segduet.core.labels import LabelScheme
from segduet.networks.joint import JointNetwork
from segduet.training.averaging import WeightAverage
from segduet.training.checkpoint import (
    TrainingState,
    load_checkpoint,
    save_checkpoint,
    write_model,
)
from segduet.training.config import Recipe
from segduet.training.devices import Compute
from segduet.training.history import HistoryLog
from segduet.training.objective import Objective
from segduet.training.optimizers import build_optimizer, set_rate
from segduet.training.patch_validation import validate_patches
from segduet.training.samples import Batch, PatchDataset, batches
from segduet.training.schedule import rate_factor
from segduet.training.step import train_step

CHECKPOINT = "checkpoint_latest.safetensors"
BEST_MODEL = "model_best.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a training stands, for a display.

    Attributes:
        epoch: 0-based epoch being trained.
        step: steps finished in all epochs.
        num_steps: steps of the whole training.
        losses: mean raw losses of this epoch so far.
        steps_per_second: rate since the start or resume.
        seconds_left: estimate for the rest.
    """

    epoch: int
    step: int
    num_steps: int
    losses: Mapping[str, float]
    steps_per_second: float
    seconds_left: float

    @property
    def line(self) -> str:
        """Stage, epoch, losses, rate and time left, for a person."""
        losses = " ".join(f"{name} {value:.3f}" for name, value in self.losses.items())
        return (
            f"train: epoch {self.epoch}, step {self.step}/{self.num_steps}, {losses}, "
            f"{self.steps_per_second:.2f} steps/s, {self.seconds_left / 60:.1f} min left"
        )

    @property
    def share(self) -> float:
        """Share of the training that is done, in [0, 1]."""
        return self.step / self.num_steps


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingJob:
    """Everything a training needs, built beforehand.

    Attributes:
        validation_patches: dataset of un-augmented validation patches; None without validation
            cases.
        validate_full: measures both tasks on the full validation cases; its record must hold
            `score`, the joint score the `best_joint` rule compares. None without such cases.
        until_epoch: stop (resumable) after this many epochs; None trains to the end.
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
    on_progress: Callable[[Progress], None] = lambda _: None
    until_epoch: int | None = None


def train(job: TrainingJob, *, resume: bool) -> TrainingState:
    """Trains to the end (or `until_epoch`) and returns the state; `state.model` is the model.

    Same seed, same thread count, same device: same weights, interrupted or not (B10).

    Raises:
        TrainingError: a loss is not finite, or a worker process died.
        DataError, RequestError: the checkpoint to resume from is damaged or of another recipe.
        StorageError: a checkpoint could not be written; the previous one is intact.
    """
    torch.manual_seed(job.recipe.seed)
    state = _initial_state(job)
    checkpoint = job.run_folder / CHECKPOINT
    if resume:
        load_checkpoint(checkpoint, state, job.recipe)
    else:
        save_checkpoint(checkpoint, state, job.recipe)
    log = HistoryLog(job.run_folder, first_epoch=state.epoch)
    try:
        _train_epochs(job, state, log)
    finally:
        log.close()
    return state


def _initial_state(job: TrainingJob) -> TrainingState:
    network = job.network.to(job.compute.device).train()
    decay = job.recipe.ema_decay
    return TrainingState(
        network=network,
        average=WeightAverage(network, decay) if decay else None,
        optimizer=build_optimizer(network, job.recipe.optimizer),
        scaler=job.compute.gradient_scaler(),
        balancer=job.balancer,
    )


def _train_epochs(job: TrainingJob, state: TrainingState, log: HistoryLog) -> None:
    recipe = job.recipe
    last_epoch = min(recipe.epochs, job.until_epoch or recipe.epochs)
    stream = batches(
        job.patches,
        batch_size=job.batch_size,
        first_step=state.epoch * recipe.steps_per_epoch,
        last_step=last_epoch * recipe.steps_per_epoch,
        workers=job.workers,
    )
    rates = _RateMeter(recipe.num_steps - state.epoch * recipe.steps_per_epoch)
    while state.epoch < last_epoch:
        started = time.perf_counter()
        record = _train_epoch(job, state, stream, rates)
        record["seconds"] = round(time.perf_counter() - started, 3)
        state.epoch += 1
        state.history.append(record)
        if job.validate_full and _is_due(recipe.validation.full_cases_every, state.epoch):
            record["full_case"] = dict(job.validate_full(_model(state)))
            _select(job, state, record["full_case"]["score"])
        save_checkpoint(job.run_folder / CHECKPOINT, state, recipe)
        log.write(state.history)


def _train_epoch(
    job: TrainingJob, state: TrainingState, stream: Iterator[Batch], rates: "_RateMeter"
) -> dict[str, Any]:
    recipe = job.recipe
    state.network.train()
    sums: dict[str, float] = {}
    rate = 0.0
    for position in range(recipe.steps_per_epoch):
        step = state.epoch * recipe.steps_per_epoch + position
        rate = set_rate(state.optimizer, rate_factor(step, recipe.num_steps, recipe.schedule))
        losses = train_step(state, _next(stream), job.objective, recipe, job.compute)
        for name, value in losses.items():
            sums[name] = sums.get(name, 0.0) + value
        means = {name: total / (position + 1) for name, total in sums.items()}
        job.on_progress(rates.progress(state.epoch, step + 1, recipe.num_steps, means))
    return {
        "epoch": state.epoch,
        "train": means,
        "validation": _validate_patches(job, state),
        "learning_rate": rate,
        "weights": state.balancer.weights(state.epoch),
    }


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
    network = _model(state)
    stream = batches(
        job.validation_patches,
        batch_size=job.batch_size,
        first_step=0,
        last_step=-(-count // job.batch_size),
        workers=0,
    )
    measured = validate_patches(network, stream, job.objective, job.labels, job.compute)
    weights = state.balancer.weights(state.epoch)
    loss = sum(weight * (measured[name] or 0.0) for name, weight in weights.items())
    return {"loss": loss, **measured}


def _model(state: TrainingState) -> JointNetwork:
    model = state.model
    assert isinstance(model, JointNetwork)
    return model


def _is_due(every: int, finished_epochs: int) -> bool:
    return every > 0 and finished_epochs % every == 0


def _select(job: TrainingJob, state: TrainingState, score: float | None) -> None:
    """Keeps the best weights under the `best_joint` rule; does nothing under `last`."""
    if job.recipe.validation.selection != "best_joint" or score is None:
        return
    state.num_candidates += 1
    if state.best_score is None or score > state.best_score:
        state.best_score = score
        header = {"epoch": state.epoch, "score": score}
        write_model(job.run_folder / BEST_MODEL, state.model, header)


class _RateMeter:
    """Steps per second since the start, and the time left at that rate."""

    def __init__(self, steps_left: int) -> None:
        self._started = time.perf_counter()
        self._steps_left = steps_left
        self._done = 0

    def progress(
        self, epoch: int, step: int, num_steps: int, losses: Mapping[str, float]
    ) -> Progress:
        """Counts one more step and returns the standing."""
        self._done += 1
        rate = self._done / (time.perf_counter() - self._started)
        return Progress(
            epoch=epoch,
            step=step,
            num_steps=num_steps,
            losses=dict(losses),
            steps_per_second=rate,
            seconds_left=(self._steps_left - self._done) / rate,
        )
