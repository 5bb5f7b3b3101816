"""`segduet train`: one joint model of one fold, with its record."""

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from segduet.core.errors import RequestError
from segduet.core.files import write_json
from segduet.core.folders import DataRoot
from segduet.core.manifest import RunManifest, utc
from segduet.training.allocator import keep_freed_memory
from segduet.training.checkpoint import TrainingState
from segduet.training.launch import require_even_shares
from segduet.training.loop import train as run_training
from segduet.training.process_group import joined_processes
from segduet.training.progress import Progress
from segduet.workflows.planned_dataset import PlannedDataset
from segduet.workflows.run_folder import choose_run_folder, refuse_earlier, remove_earlier
from segduet.workflows.run_record import RUN_RECORD
from segduet.workflows.train_request import TrainRequest
from segduet.workflows.training_compute import requested_compute, settled
from segduet.workflows.training_run import TrainingRun


def train(
    root: DataRoot,
    request: TrainRequest,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> RunManifest:
    """Trains, validates on the fold's full cases, and writes model and record.

    Of several processes every one calls it with its own launch. They share the work out and must
    see the same data folder; the first one writes, but for the masks of the validation.

    Returns:
        The manifest; `outcome["run_folder"]` is where everything lies.

    Raises:
        RequestError: dataset not planned or preprocessed, unknown fold or configuration, a run
            folder that already holds a training, a recipe that does not fit or that this machine
            cannot compile, or a batch that cannot be shared out evenly.
        DataError: damaged files.
        TrainingError: a loss is not finite, a worker died, or another process ended.
    """
    clock = _Clock()
    planned = PlannedDataset.open(root, request.dataset, request.plans)
    folder = _run_folder(planned, request)
    planned_size = planned.plan.configuration(request.configuration).batch_size
    require_even_shares(request.recipe.batch_size or planned_size, request.launch)
    compute = requested_compute(request)
    if compute.device.type == "cpu":
        keep_freed_memory()
    with joined_processes(request.launch, compute.device) as processes:
        together = replace(compute, processes=processes)
        run = settled(TrainingRun.build(planned, request, folder, together))
        state, outcome = _train(run, on_progress)
        seconds = clock.seconds
        manifest = RunManifest(
            command="train",
            arguments=_arguments(request),
            outcome=outcome,
            warnings=run.warnings,
            started=utc(clock.started),
            seconds=seconds["wall"],
        )
        if processes.is_first:
            write_json(folder / RUN_RECORD, run.record(state, outcome, seconds))
            manifest.write(folder)
    return manifest


def _run_folder(planned: PlannedDataset, request: TrainRequest) -> Path:
    if request.resume and request.overwrite:
        raise RequestError(
            "segduet train",
            found="both --resume and --overwrite",
            expected="one of them: to go on, or to start anew",
            remedy="Choose one.",
        )
    folder = choose_run_folder(
        planned,
        trainer=request.name or f"segduet_{request.recipe.name}",
        configuration=request.configuration,
        fold=request.fold,
    )
    if not (request.resume or request.overwrite):
        refuse_earlier(folder)
    return folder


def _train(
    run: TrainingRun, on_progress: Callable[[Progress], None]
) -> tuple[TrainingState, dict[str, Any]]:
    """The state at the end, and what to report of it."""
    folder, processes, is_resumed = run.folder, run.compute.processes, run.request.resume
    job = run.job(on_progress)
    processes.wait_for_all()
    if processes.is_first and not is_resumed:
        remove_earlier(folder)  # only now: a request that does not fit costs no earlier training
        run.remove_handed_on()
    state = run_training(job, resume=is_resumed)
    outcome = {"run_folder": str(folder), "epochs": state.epoch, "finished": state.is_finished}
    if state.is_finished:
        outcome |= run.finish(state)
    return state, outcome


class _Clock:
    """Seconds since it was made, on the wall and of this process and its children."""

    def __init__(self) -> None:
        self.started, self._cpu = time.time(), time.process_time()

    @property
    def seconds(self) -> dict[str, float]:
        times = os.times()
        children = times.children_user + times.children_system
        return {
            "wall": time.time() - self.started,
            "cpu": time.process_time() - self._cpu + children,
        }


def _arguments(request: TrainRequest) -> dict[str, Any]:
    return {
        "dataset": request.dataset,
        "configuration": request.configuration,
        "fold": request.fold,
        "recipe": request.recipe.model_dump(mode="json"),
        "device": request.device,
        "workers": request.workers,
        "pretrained": str(request.pretrained) if request.pretrained else None,
        "pretrained_classifier": (
            str(request.pretrained_classifier) if request.pretrained_classifier else None
        ),
        "shared_encoder_from": request.shared_encoder_from,
        "previous_stage": request.previous_stage,
        "resume": request.resume,
    }
