"""One training with everything it reads: between the request and the loop, and what it leaves."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from segduet.balancing.registry import build_balancer
from segduet.core.answers import fitted_task
from segduet.core.errors import RequestError
from segduet.core.files import sha256
from segduet.core.manifest import installed_versions
from segduet.core.plan import ConfigurationPlan
from segduet.core.tasks import TaskSpec
from segduet.dataset.folds import Fold
from segduet.networks.joint import JointNetwork, build_joint_network
from segduet.networks.record import NetworkRecord
from segduet.networks.stock_view import segmentation_weights
from segduet.networks.warm_start import WarmStartReport
from segduet.nnunet.checkpoints import write_stock_checkpoint
from segduet.nnunet.stage_predictions import StagePredictions
from segduet.nnunet.store import PreparedStore
from segduet.preparation.cascade import num_input_channels
from segduet.training.augmentation import plan_augmentation
from segduet.training.checkpoint import TrainingState, load_unique, read_model, write_model
from segduet.training.config import Recipe
from segduet.training.devices import Compute
from segduet.training.loop import BEST_MODEL, TrainingJob
from segduet.training.objective import Objective, build_objective
from segduet.training.progress import Progress
from segduet.training.samples import PatchDataset, PatchSource, require_masks
from segduet.training.selection import selection_formula
from segduet.training.thermal import build_guard
from segduet.workflows.cascade import PreviousStage, find_previous_stage, next_predictions
from segduet.workflows.full_validation import FullCaseValidator
from segduet.workflows.models import MODEL_FILE, model_header, write_model_folder
from segduet.workflows.planned_dataset import PlannedDataset
from segduet.workflows.prepared_cases import prepared_store
from segduet.workflows.pretrained import pretrain, unmatched, warm_start_record
from segduet.workflows.run_folder import STOCK_CHECKPOINT, VALIDATION
from segduet.workflows.run_record import SCHEMA_VERSION
from segduet.workflows.teacher import FoundTeacher, Student, find_teacher
from segduet.workflows.train_request import TrainRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRun:
    """One training with everything it reads, between the request and the job.

    Attributes:
        tasks: what the network answers about a case, regressions with the training cases' scale;
            none where the recipe asks for masks alone.
        previous: the stage before, whose label maps the network is fed with (a cascade).
        handed_on: where the label maps go that other configurations are fed with, by their names.
        teacher: the model that teaches this one; None where only the labels do.
    """

    planned: PlannedDataset
    request: TrainRequest
    folder: Path
    configuration: ConfigurationPlan
    fold: Fold
    tasks: tuple[TaskSpec, ...]
    compute: Compute
    network: JointNetwork
    warm_start: WarmStartReport | None
    store: PreparedStore
    previous: PreviousStage | None
    handed_on: Mapping[str, StagePredictions]
    teacher: FoundTeacher | None
    warnings: list[str]

    @classmethod
    def build(
        cls, planned: PlannedDataset, request: TrainRequest, folder: Path, compute: Compute
    ) -> Self:
        """Reads fold and prepared cases, builds the network."""
        recipe = request.recipe
        configuration = planned.plan.configuration(request.configuration)
        fold = planned.fold(request.fold)
        tasks = _answered_tasks(planned, recipe, fold)
        cases, models = fold.train + fold.val, folder.parent
        store = prepared_store(planned, request.configuration, cases)
        previous = find_previous_stage(planned, request, models, cases)
        student = Student(
            planned=planned,
            request=request,
            tasks=tasks,
            validation_cases=fold.val,
            run_folder=folder,
        )
        teacher = find_teacher(student, compute)
        torch.manual_seed(recipe.seed)
        network = _new_network(planned, configuration, recipe, tasks)
        report = pretrain(network, request)
        return cls(
            planned=planned,
            request=replace(request, recipe=teacher.pinned(recipe)) if teacher else request,
            folder=folder,
            configuration=configuration,
            fold=fold,
            tasks=tasks,
            compute=compute,
            network=network,
            warm_start=report,
            store=store,
            previous=previous,
            handed_on=next_predictions(planned, request.configuration, models),
            teacher=teacher,
            warnings=[*unmatched(report), *(teacher.warnings if teacher else ())],
        )

    def job(self, on_progress: Callable[[Progress], None]) -> TrainingJob:
        """The job for the training loop."""
        recipe = self.request.recipe
        return TrainingJob(
            network=self.network,
            objective=self._objective(),
            balancer=build_balancer(
                recipe.balancing,
                tasks=[t.name for t in self.tasks],
                num_epochs=recipe.epochs,
                regression_tasks=[t.name for t in self.tasks if t.kind == "regression"],
                device=self.compute.device,
            ),
            recipe=recipe,
            compute=self.compute,
            labels=self.planned.labels,
            patches=self._patches(self.fold.train, for_training=True),
            validation_patches=(
                self._patches(self.fold.val, for_training=False) if self.fold.val else None
            ),
            validate_full=self.validator(mirrored=False).measure if self.fold.val else None,
            batch_size=recipe.batch_size or self.configuration.batch_size,
            workers=self.request.workers,
            run_folder=self.folder,
            on_progress=on_progress,
            until_epoch=self.request.until_epoch,
            thermal=build_guard(
                recipe.thermal,
                uses_gpu=self.compute.device.type == "cuda",
                agreed=self.compute.processes.any,
            ),
            model_header=self._model_header(),
        )

    def _objective(self) -> Objective:
        recipe = self.request.recipe
        return build_objective(
            self.planned.labels,
            self.tasks,
            self._targets(self.fold.train),
            recipe.classification_loss,
            segmentation_config=recipe.segmentation_loss,
            batch_dice=self.configuration.batch_dice,
            device=self.compute.device,
            distillation=self.teacher.distillation if self.teacher else None,
            processes=self.compute.processes,
        ).computed_with(self.compute)

    def _targets(self, cases: Sequence[str]) -> dict[str, np.ndarray]:
        return {task.name: self.planned.table.targets(task, cases) for task in self.tasks}

    def _patches(self, cases: Sequence[str], *, for_training: bool) -> PatchDataset:
        recipe = self.request.recipe
        source = PatchSource(
            store=self.store,
            cases=tuple(cases),
            targets=self._targets(cases),
            tasks=self.tasks,
            labels=self.planned.labels,
            seed=recipe.seed,
            previous=self.previous.predictions if self.previous else None,
        )
        sampling = recipe.sampling if for_training else recipe.sampling.for_validation()
        if for_training and recipe.has_masks:
            require_masks(source)
        plan = plan_augmentation(self.configuration.patch_size, sampling.augmentation)
        return PatchDataset(source, plan, sampling)

    def validator(self, *, mirrored: bool) -> FullCaseValidator:
        """Measures both tasks on the fold's full validation cases."""
        return FullCaseValidator(
            planned=self.planned,
            configuration=self.configuration,
            tasks=self.tasks,
            store=self.store,
            cases=self.fold.val,
            compute=self.compute,
            mirrored=mirrored,
            previous=self.previous.predictions if self.previous else None,
            handed_on=self.handed_on if self.request.recipe.has_masks else {},
        )

    def remove_handed_on(self) -> None:
        """Deletes what an earlier training of this fold left for the next stage."""
        for predictions in self.handed_on.values():
            predictions.remove(self.fold.val)

    def finish(self, state: TrainingState) -> dict[str, Any]:
        """Writes the model, its stock twin and the validation; returns what to report of it."""
        model = self._selected(state)
        header = {**self._model_header(), "epoch": state.epoch}
        if self.compute.processes.is_first:
            write_model_folder(self.folder.parent, self.planned.plan, self.planned.description)
            write_model(self.folder / MODEL_FILE, model, header)
            if self.request.recipe.fits_stock_nnunet:
                self._write_stock_twin(model)
        selected_from = max(1, state.num_candidates)
        outcome: dict[str, Any] = {"selected_from": selected_from}
        if self.fold.val and self.request.recipe.validation.final:
            validator = self.validator(mirrored=True)
            summary = validator.write(model, self.folder / VALIDATION, selected_from)
            outcome["validation"] = summary
        return outcome

    def _write_stock_twin(self, model: JointNetwork) -> None:
        description = self.planned.description
        write_stock_checkpoint(
            self.folder / STOCK_CHECKPOINT,
            weights=segmentation_weights(model),
            plans=self.planned.plan.to_json(),
            dataset_json=description.model_dump(by_alias=True, exclude_none=True, mode="json"),
            configuration=self.request.configuration,
            fold=self.request.fold,
            mirror_axes=tuple(range(self.configuration.num_spatial_dims)),
        )

    def _model_header(self) -> dict[str, Any]:
        recipe = self.request.recipe
        network = NetworkRecord(
            head=recipe.head, network=recipe.network, with_masks=recipe.has_masks
        )
        trainer = self.previous.trainer if self.previous else None
        return model_header(self.tasks, network, recipe=recipe.name, previous_stage=trainer)

    def _selected(self, state: TrainingState) -> JointNetwork:
        model = state.model
        assert isinstance(model, JointNetwork)
        if self.request.recipe.validation.selection != "last" and state.num_candidates:
            tensors, _ = read_model(self.folder / BEST_MODEL)
            load_unique(model, tensors, where=str(self.folder / BEST_MODEL))
        return model

    def _weights_sha256(self) -> dict[str, str]:
        """Of the model that was written, called as in the manifest of a prediction."""
        return {f"{self.folder.name}/{MODEL_FILE}": sha256(self.folder / MODEL_FILE)}

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
            "previous_stage": self.previous.trainer if self.previous else None,
            "recipe": request.recipe.model_dump(mode="json"),
            "seed": request.recipe.seed,
            "device": str(self.compute.device),
            **self.compute.record(),
            "threads": torch.get_num_threads(),
            "processes": self.compute.processes.size,
            "train_cases": list(self.fold.train),
            "validation_cases": list(self.fold.val),
            "selection_rule": request.recipe.validation.selection,
            "selection_formula": selection_formula(request.recipe.validation),
            "early_stopping": state.stopping.reason if state.stopping else "",
            "selected_from": outcome.get("selected_from"),
            "epochs_done": state.epoch,
            "weights_sha256": self._weights_sha256() if state.is_finished else {},
            "num_parameters": sum(p.numel() for p in self.network.parameters()),
            "warm_start": warm_start_record(self.warm_start),
            "teacher": dict(self.teacher.record) if self.teacher else None,
            "seconds": {k: round(v, 1) for k, v in seconds.items()},
            "versions": installed_versions(),
        }


def _answered_tasks(planned: PlannedDataset, recipe: Recipe, fold: Fold) -> tuple[TaskSpec, ...]:
    if recipe.answers == "segmentation":
        return ()
    if recipe.answers == "classification" and not planned.tasks:
        raise RequestError(
            f"recipe, answers {recipe.answers}",
            found=f"a dataset without case-level tasks, {planned.folders.name}",
            expected="a task to learn",
            remedy="Import the dataset with its classes, or train with answers=segmentation.",
        )
    where = f"fold of {len(fold.train)} training cases"
    return tuple(
        fitted_task(task, planned.table.targets(task, fold.train), where=where)
        for task in planned.tasks
    )


def _new_network(
    planned: PlannedDataset,
    configuration: ConfigurationPlan,
    recipe: Recipe,
    tasks: tuple[TaskSpec, ...],
) -> JointNetwork:
    return build_joint_network(
        configuration=configuration,
        num_channels=num_input_channels(
            configuration,
            num_image_channels=planned.description.num_channels,
            labels=planned.labels,
        ),
        labels=planned.labels,
        tasks=tasks,
        head=recipe.head,
        deep_supervision=True,
        backbone=recipe.network,
        with_masks=recipe.has_masks,
    )
