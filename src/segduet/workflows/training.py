"""`segduet train`: one joint model of one fold, with its record."""

import os
import time
from collections.abc import Callable
from typing import Any

from segduet.core.errors import RequestError
from segduet.core.files import write_json
from segduet.core.folders import DataRoot
from segduet.core.manifest import RunManifest, utc
from segduet.training.allocator import keep_freed_memory
from segduet.training.loop import train as run_training
from segduet.training.progress import Progress
from segduet.workflows.planned_dataset import PlannedDataset
from segduet.workflows.run_folder import choose_run_folder, refuse_earlier, remove_earlier
from segduet.workflows.run_record import RUN_RECORD
from segduet.workflows.train_request import TrainRequest
from segduet.workflows.training_run import TrainingRun


def train(
    root: DataRoot,
    request: TrainRequest,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> RunManifest:
    """Trains, validates on the fold's full cases, and writes model and record.

    Returns:
        The manifest; `outcome["run_folder"]` is where everything lies.

    Raises:
        RequestError: dataset not planned or preprocessed, unknown fold or configuration, a run
            folder that already holds a training, or a recipe that does not fit.
        DataError: damaged files.
        TrainingError: a loss is not finite or a worker died.
    """
    started, cpu = time.time(), time.process_time()
    if request.resume and request.overwrite:
        raise RequestError(
            "segduet train",
            found="both --resume and --overwrite",
            expected="one of them: to go on, or to start anew",
            remedy="Choose one.",
        )
    planned = PlannedDataset.open(root, request.dataset, request.plans)
    folder = choose_run_folder(
        planned,
        trainer=request.name or f"segduet_{request.recipe.name}",
        configuration=request.configuration,
        fold=request.fold,
    )
    if not (request.resume or request.overwrite):
        refuse_earlier(folder)
    run = TrainingRun.build(planned, request, folder)
    job = run.job(on_progress)
    if not request.resume:
        remove_earlier(folder)  # only now: a request that does not fit costs no earlier training
        run.remove_handed_on()
    if run.compute.device.type == "cpu":
        keep_freed_memory()
    state = run_training(job, resume=request.resume)
    outcome = {"run_folder": str(folder), "epochs": state.epoch, "finished": state.is_finished}
    if state.is_finished:
        outcome |= run.finish(state)
    seconds = {"wall": time.time() - started, "cpu": time.process_time() - cpu + _children_cpu()}
    write_json(folder / RUN_RECORD, run.record(state, outcome, seconds))
    manifest = RunManifest(
        command="train",
        arguments=_arguments(request),
        outcome=outcome,
        warnings=run.warnings,
        started=utc(started),
        seconds=seconds["wall"],
    )
    manifest.write(folder)
    return manifest


def _children_cpu() -> float:
    times = os.times()
    return times.children_user + times.children_system


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
