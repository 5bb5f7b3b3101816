"""`segduet train`: one joint model of one fold, with its record."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from segduet.balancing.registry import build_balancer
from segduet.core.errors import RequestError
from segduet.core.files import write_json
from segduet.core.folders import DataRoot
from segduet.core.manifest import RunManifest, installed_versions, utc
from segduet.core.plan import ConfigurationPlan
from segduet.dataset.folds import Fold
from segduet.networks.joint import JointNetwork, build_joint_network
from segduet.networks.warm_start import WarmStartReport, load_matching
from segduet.nnunet.checkpoints import read_stock_checkpoint, write_stock_checkpoint
from segduet.nnunet.preprocess import preparation_hash
from segduet.nnunet.store import PreparedStore
from segduet.training.allocator import keep_freed_memory
from segduet.training.augmentation import plan_augmentation
from segduet.training.checkpoint import TrainingState, load_unique, read_model, write_model
from segduet.training.config import Recipe
from segduet.training.devices import Compute, choose_compute
from segduet.training.loop import BEST_MODEL, Progress, TrainingJob
from segduet.training.loop import train as run_training
from segduet.training.objective import build_objective
from segduet.training.samples import UNKNOWN_CLASS, PatchDataset, PatchSource
from segduet.workflows.full_validation import FullCaseValidator
from segduet.workflows.models import MODEL_FILE, model_header, write_model_folder
from segduet.workflows.planned_dataset import PlannedDataset
from segduet.workflows.run_folder import (
    STOCK_CHECKPOINT,
    VALIDATION,
    choose_run_folder,
    refuse_earlier,
    remove_earlier,
)
from segduet.workflows.run_record import RUN_RECORD, SCHEMA_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRequest:
    """What to train.

    Attributes:
        name: first part of the run folder's name; None takes `segduet_<recipe name>`.
        pretrained: weights to start from: a stock nnU-Net checkpoint or our `model.safetensors`.
        resume: go on from the run folder's checkpoint.
        overwrite: start anew where the run folder already holds a training.
        until_epoch: stop, resumable, after this many epochs.
    """

    dataset: str
    configuration: str = "3d_fullres"
    fold: str = "0"
    recipe: Recipe = field(default_factory=Recipe)
    plans: str | None = None
    name: str | None = None
    device: str = "auto"
    workers: int = 1
    pretrained: Path | None = None
    resume: bool = False
    overwrite: bool = False
    until_epoch: int | None = None


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
    run = _Run.build(planned, request, folder)
    if not request.resume:
        remove_earlier(folder)
    if run.compute.device.type == "cpu":
        keep_freed_memory()
    state = run_training(run.job(on_progress), resume=request.resume)
    outcome = {"run_folder": str(folder), "epochs": state.epoch, "finished": run.is_finished(state)}
    if run.is_finished(state):
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
        "resume": request.resume,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """One training with everything it reads, between the request and the job."""

    planned: PlannedDataset
    request: TrainRequest
    folder: Path
    configuration: ConfigurationPlan
    fold: Fold
    compute: Compute
    network: JointNetwork
    warm_start: WarmStartReport | None
    store: PreparedStore
    warnings: list[str]

    @classmethod
    def build(cls, planned: PlannedDataset, request: TrainRequest, folder: Path) -> "_Run":
        """Reads fold and prepared cases, chooses the device, builds the network."""
        configuration = planned.plan.configuration(request.configuration)
        fold = planned.fold(request.fold)
        compute = choose_compute(request.device, request.recipe.precision)
        torch.manual_seed(request.recipe.seed)
        network = build_joint_network(
            configuration=configuration,
            num_channels=planned.description.num_channels,
            labels=planned.labels,
            tasks=planned.tasks,
            head=request.recipe.head,
            deep_supervision=True,
        )
        report = _warm_start(network, request.pretrained)
        return cls(
            planned=planned,
            request=request,
            folder=folder,
            configuration=configuration,
            fold=fold,
            compute=compute,
            network=network,
            warm_start=report,
            store=_prepared_store(planned, request.configuration, fold.train + fold.val),
            warnings=_unmatched(report),
        )

    def job(self, on_progress: Callable[[Progress], None]) -> TrainingJob:
        """The job for the training loop."""
        recipe = self.request.recipe
        return TrainingJob(
            network=self.network,
            objective=self._objective(),
            balancer=build_balancer(
                recipe.balancing,
                tasks=[t.name for t in self.planned.tasks],
                num_epochs=recipe.epochs,
            ),
            recipe=recipe,
            compute=self.compute,
            labels=self.planned.labels,
            patches=self._patches(self.fold.train, augmented=True),
            validation_patches=(
                self._patches(self.fold.val, augmented=False) if self.fold.val else None
            ),
            validate_full=self.validator(mirrored=False).measure if self.fold.val else None,
            batch_size=recipe.batch_size or self.configuration.batch_size,
            workers=self.request.workers,
            run_folder=self.folder,
            on_progress=on_progress,
            until_epoch=self.request.until_epoch,
        )

    def _objective(self) -> Any:
        planned = self.planned
        counts = {t.name: planned.table.class_counts(t, self.fold.train) for t in planned.tasks}
        return build_objective(
            planned.labels,
            planned.tasks,
            counts,
            self.request.recipe.classification_loss,
            batch_dice=self.configuration.batch_dice,
            device=self.compute.device,
        )

    def _patches(self, cases: Sequence[str], *, augmented: bool) -> PatchDataset:
        recipe, description = self.request.recipe, self.planned.description
        sampling = recipe.sampling
        if not augmented:
            sampling = sampling.model_copy(update={"augmentation": "none"})
        source = PatchSource(
            store=self.store,
            cases=tuple(cases),
            classes=_class_indices(self.planned, cases),
            tasks=description.tasks,
            labels=description.label_scheme,
            seed=recipe.seed,
        )
        patch_size = self.configuration.patch_size
        return PatchDataset(source, plan_augmentation(patch_size, sampling.augmentation), sampling)

    def validator(self, *, mirrored: bool) -> FullCaseValidator:
        """Measures both tasks on the fold's full validation cases."""
        return FullCaseValidator(
            planned=self.planned,
            configuration=self.configuration,
            store=self.store,
            cases=self.fold.val,
            compute=self.compute,
            mirrored=mirrored,
        )

    def is_finished(self, state: TrainingState) -> bool:
        """Whether the training has run to its last epoch."""
        return state.epoch >= self.request.recipe.epochs

    def finish(self, state: TrainingState) -> dict[str, Any]:
        """Writes the model, its stock twin and the validation; returns what to report of it."""
        model = self._selected(state)
        recipe, description = self.request.recipe, self.planned.description
        header = model_header(description.tasks, recipe.head, recipe=recipe.name, epoch=state.epoch)
        write_model_folder(self.folder.parent, self.planned.plan, description)
        write_model(self.folder / MODEL_FILE, model, header)
        write_stock_checkpoint(
            self.folder / STOCK_CHECKPOINT,
            weights=_segmentation_weights(model),
            plans=self.planned.plan.to_json(),
            dataset_json=description.model_dump(by_alias=True, exclude_none=True, mode="json"),
            configuration=self.request.configuration,
            fold=self.request.fold,
            mirror_axes=tuple(range(self.configuration.num_spatial_dims)),
        )
        selected_from = max(1, state.num_candidates)
        outcome: dict[str, Any] = {"selected_from": selected_from}
        if self.fold.val and recipe.validation.final:
            validator = self.validator(mirrored=True)
            summary = validator.write(model, self.folder / VALIDATION, selected_from)
            outcome["validation"] = summary
        return outcome

    def _selected(self, state: TrainingState) -> JointNetwork:
        model = state.model
        assert isinstance(model, JointNetwork)
        if self.request.recipe.validation.selection == "best_joint" and state.num_candidates:
            tensors, _ = read_model(self.folder / BEST_MODEL)
            load_unique(model, tensors, where=str(self.folder / BEST_MODEL))
        return model

    def record(
        self, state: TrainingState, outcome: Mapping[str, Any], seconds: Mapping[str, float]
    ) -> dict[str, Any]:
        """run.json: everything needed to know how the model came to be."""
        request = self.request
        return {
            "schema_version": SCHEMA_VERSION,
            "dataset": self.planned.folders.name,
            "plans": self.planned.plan.plans_name,
            "configuration": request.configuration,
            "fold": request.fold,
            "recipe": request.recipe.model_dump(mode="json"),
            "seed": request.recipe.seed,
            "device": str(self.compute.device),
            "precision": self.compute.precision,
            "threads": torch.get_num_threads(),
            "train_cases": list(self.fold.train),
            "validation_cases": list(self.fold.val),
            "selection_rule": request.recipe.validation.selection,
            "selected_from": outcome.get("selected_from"),
            "epochs_done": state.epoch,
            "num_parameters": sum(p.numel() for p in self.network.parameters()),
            "warm_start": _report(self.warm_start),
            "seconds": {k: round(v, 1) for k, v in seconds.items()},
            "versions": installed_versions(),
        }


def _class_indices(planned: PlannedDataset, cases: Sequence[str]) -> dict[str, dict[str, int]]:
    indices: dict[str, dict[str, int]] = {}
    for task in planned.tasks:
        labels = {case: planned.table.record(case).labels.get(task.name) for case in cases}
        indices[task.name] = {
            case: UNKNOWN_CLASS if label is None else task.index(label, where=f"case {case!r}")
            for case, label in labels.items()
        }
    return indices


def _prepared_store(
    planned: PlannedDataset, configuration_name: str, cases: Sequence[str]
) -> PreparedStore:
    configuration, labels = planned.plan.configuration(configuration_name), planned.labels
    store = PreparedStore.of(planned.folders, configuration)
    store.adopt_stock(planned.plan, labels)
    settings = preparation_hash(planned.plan, configuration, labels)
    missing = [case for case in cases if not store.is_current(case, settings)]
    if missing:
        raise RequestError(
            f"prepared cases of {planned.folders.name}, {configuration_name}",
            found=f"{len(missing)} of {len(cases)} missing or out of date, first {missing[0]!r}",
            expected="every case of the fold prepared with this plan",
            remedy=f"Run `segduet preprocess {planned.folders.name} -c {configuration_name}`.",
        )
    return store


def _warm_start(network: JointNetwork, source: Path | None) -> WarmStartReport | None:
    if source is None:
        return None
    if source.name.endswith(".safetensors"):
        return load_matching(network, read_model(source)[0])
    return load_matching(network, read_stock_checkpoint(source).weights)


def _unmatched(report: WarmStartReport | None) -> list[str]:
    if report is None:
        return []
    keys = [*report.missing, *report.unexpected, *report.wrong_shape]
    return [f"not taken from the pretrained weights: {key}" for key in keys]


def _report(report: WarmStartReport | None) -> dict[str, Any] | None:
    if report is None:
        return None
    return {
        "loaded": len(report.loaded),
        "missing": list(report.missing),
        "unexpected": list(report.unexpected),
        "wrong_shape": list(report.wrong_shape),
    }


def _segmentation_weights(model: JointNetwork) -> dict[str, torch.Tensor]:
    """State dict of encoder and decoder under nnU-Net's names, on the CPU."""
    state = model.state_dict()
    return {k: v.cpu() for k, v in state.items() if k.startswith(("encoder.", "decoder."))}
