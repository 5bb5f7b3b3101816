"""The teacher of a distilled training: found, checked against its student, and loaded (F70)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segduet.core.description import DatasetDescription
from segduet.core.errors import RequestError
from segduet.core.files import sha256
from segduet.core.plan import ConfigurationPlan, Plan
from segduet.core.tasks import TaskSpec
from segduet.inference.mirroring import mirror_combinations
from segduet.training.config import Recipe
from segduet.training.devices import Compute
from segduet.training.distillation import Distillation, Teacher, TeacherMember
from segduet.training.distillation_config import TeacherDistillation
from segduet.workflows.models import ModelFolder, open_model
from segduet.workflows.planned_dataset import PlannedDataset
from segduet.workflows.run_record import RUN_RECORD, read_run_record
from segduet.workflows.train_request import TrainRequest
from segduet.workflows.trained_networks import TrainedNetwork, load_networks

_NUM_ARRAY_AXES = 5  # axes of mirror_combinations are those of (B, C, Z, Y, X)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundTeacher:
    """A teacher, ready to answer.

    Attributes:
        config: as asked for, with an absolute path and the hashes of what was found there.
        distillation: compares a student with it.
        record: what run.json says of it.
        warnings: one sentence each.
    """

    config: TeacherDistillation
    distillation: Distillation
    record: Mapping[str, Any]
    warnings: Sequence[str]

    def pinned(self, recipe: Recipe) -> Recipe:
        """The recipe with this very teacher, so that only the same one can go on teaching."""
        return recipe.model_copy(update={"distillation": self.config})


@dataclass(frozen=True, slots=True, kw_only=True)
class Student:
    """What a teacher must fit.

    Attributes:
        tasks: what the student answers, regressions with their scale.
        validation_cases: of its fold.
        run_folder: where it is trained.
    """

    planned: PlannedDataset
    request: TrainRequest
    tasks: tuple[TaskSpec, ...]
    validation_cases: tuple[str, ...]
    run_folder: Path


def find_teacher(student: Student, compute: Compute) -> FoundTeacher | None:
    """The teacher that the recipe names; None where it names none.

    Building its networks draws from torch's global generator.

    Raises:
        RequestError: no such model, one of other labels, channels, spacing, patch or tasks, other
            weights than the recipe's hashes say, or nothing that could be learnt from it.
        DataError: damaged weights.
    """
    config = student.request.recipe.distillation
    if not isinstance(config, TeacherDistillation):
        return None
    folder = open_model(config.teacher.expanduser())
    _require_not_itself(folder, student)
    _require_same_windows(folder, student)
    hashes = _hashes(folder, config)
    networks = load_networks(folder)
    asked = student.tasks if config.asks_tasks else ()
    _require_lessons(networks, config, student, where=f"distillation.teacher {config.teacher}")
    teacher = Teacher(_members(networks), _flips(folder, networks, config), asked, compute)
    seen = _seen_cases(folder, student.validation_cases)
    return FoundTeacher(
        config=config.model_copy(
            update={
                "teacher": config.teacher.expanduser().resolve(),
                "teacher_sha256": tuple(hashes.values()),
            }
        ),
        distillation=Distillation(
            teacher=teacher,
            config=config,
            labels=student.planned.labels,
            tasks=asked,
            processes=compute.processes,
        ),
        record={
            "folder": str(folder.folder.resolve()),
            "sha256": hashes,
            "passes_per_window": teacher.passes_per_window,
            "validation_cases_it_was_trained_on": seen,
        },
        warnings=_warnings(folder, student, seen),
    )


def _members(networks: Sequence[TrainedNetwork]) -> list[TeacherMember]:
    return [
        TeacherMember(network=one.network, scales={t.name: t.scale for t in one.tasks if t.scale})
        for one in networks
    ]


def _flips(
    folder: ModelFolder, networks: Sequence[TrainedNetwork], config: TeacherDistillation
) -> list[tuple[int, ...]]:
    """Axes to flip, counted from the last: so they are the same with and without a z axis."""
    axes = networks[0].mirror_axes if config.mirrored else ()
    combinations = mirror_combinations(axes, folder.configuration.num_spatial_dims)
    return [tuple(axis - _NUM_ARRAY_AXES for axis in flipped) for flipped in combinations]


def _hashes(folder: ModelFolder, config: TeacherDistillation) -> dict[str, str]:
    found = {fold: sha256(file) for fold, file in folder.fold_files.items()}
    if config.teacher_sha256 and tuple(found.values()) != config.teacher_sha256:
        raise RequestError(
            f"distillation.teacher {config.teacher}",
            found=f"other weights, {found}",
            expected=f"those of distillation.teacher_sha256, {list(config.teacher_sha256)}",
            remedy="Bring that teacher back, or leave teacher_sha256 out to learn from this one.",
        )
    return found


def _require_not_itself(folder: ModelFolder, student: Student) -> None:
    if student.run_folder.resolve() in {f.parent.resolve() for f in folder.weights}:
        raise RequestError(
            f"distillation.teacher {folder.folder}",
            found=f"the run folder of this very training, {student.run_folder.name}",
            expected="a teacher that lies elsewhere and stays",
            remedy="Give the student another --name.",
        )


def _require_same_windows(folder: ModelFolder, student: Student) -> None:
    """A student's window must be to the teacher what its own training windows were."""
    planned = student.planned
    configuration = planned.plan.configuration(student.request.configuration)
    own = _windows(planned.plan, configuration, planned.description)
    teachers = _windows(folder.plan, folder.configuration, folder.description)
    for name, wanted in own.items():
        if teachers[name] != wanted:
            raise RequestError(
                f"distillation.teacher {folder.folder}",
                found=f"another {name}: {teachers[name]}",
                expected=f"{wanted}, as the student's in {planned.folders.name}",
                remedy="Choose a teacher of the same dataset and plan, or train one.",
            )


def _windows(
    plan: Plan, configuration: ConfigurationPlan, description: DatasetDescription
) -> dict[str, object]:
    """What windows of a configuration hold and mean."""
    schemes = configuration.normalization_schemes
    # CT is normalised by figures of its whole dataset, other images by their own
    intensities = plan.foreground_intensity_properties_per_channel if "CT" in str(schemes) else {}
    labels = description.label_scheme
    return {
        "label set": (dict(labels.labels), labels.regions_class_order),
        "set of channels": tuple(description.channel_names.values()),
        "spacing": configuration.spacing,
        "patch size": configuration.patch_size,
        "order of axes": plan.transpose_forward,
        "normalisation": (schemes, configuration.use_mask_for_norm, intensities),
        "stage before": configuration.previous_stage,
    }


def _require_lessons(
    networks: Sequence[TrainedNetwork], config: TeacherDistillation, student: Student, *, where: str
) -> None:
    recipe = student.request.recipe
    wants_masks = recipe.has_masks and config.segmentation_weight > 0
    wanted = [_question(task) for task in student.tasks] if config.asks_tasks else []
    if not (wants_masks or wanted):
        raise RequestError(
            where,
            found=f"weights that leave nothing to learn with answers={recipe.answers}",
            expected="a weight above 0 for what the student answers",
            remedy="Set distillation.segmentation_weight or distillation.task_weight, or kind=off.",
        )
    if wants_masks and not all(network.segments for network in networks):
        raise RequestError(
            where,
            found="a teacher that draws no masks",
            expected="masks, since distillation.segmentation_weight is above 0",
            remedy="Choose another teacher, or set distillation.segmentation_weight=0.",
        )
    answered = [_question(task) for task in networks[0].tasks]
    if not all(question in answered for question in wanted):
        raise RequestError(
            where,
            found=f"a teacher of the tasks {answered}",
            expected=f"{wanted} among them, which the student answers",
            remedy="Choose another teacher, or set distillation.task_weight and feature_weight "
            "to 0 to learn its masks alone.",
        )
    if config.feature_weight and _batch_size(student) == 1:
        raise RequestError(
            "distillation.feature_weight",
            found="a batch of one window",
            expected="two windows or more, since it compares windows with each other",
            remedy="Leave feature_weight out, or raise batch_size.",
        )


def _question(task: TaskSpec) -> tuple[object, ...]:
    """What two models must have in common to answer the same question."""
    return (task.name, task.kind, task.classes, task.unit)


def _batch_size(student: Student) -> int:
    planned, request = student.planned, student.request
    return request.recipe.batch_size or planned.plan.configuration(request.configuration).batch_size


def _seen_cases(folder: ModelFolder, validation_cases: Sequence[str]) -> list[str] | None:
    """Validation cases some fold of the teacher was trained on, by name; None: cannot be told."""
    seen: set[str] = set()
    for weights in folder.weights:
        if not (weights.parent / RUN_RECORD).is_file():
            return None if validation_cases else []
        seen |= set(read_run_record(weights.parent)["train_cases"])
    return sorted(seen & set(validation_cases))


def _warnings(folder: ModelFolder, student: Student, seen: list[str] | None) -> list[str]:
    advice = (
        "figures on them may flatter the student; a teacher of this fold alone, "
        f".../fold_{student.request.fold}, is free of that"
    )
    if seen is None:
        return [
            f"whether the teacher was trained on this fold's validation cases is unknown: {advice}"
        ]
    if not seen:
        return []
    return [
        f"the teacher (folds {', '.join(folder.fold_files)}) was trained on {len(seen)} of this "
        f"fold's {len(student.validation_cases)} validation cases: {advice}"
    ]
