"""`segduet patients`: one answer per patient, from all its images and what they show (B06, B07)."""

import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from segduet.core.errors import RequestError
from segduet.core.folders import DataRoot
from segduet.core.manifest import RunManifest, utc
from segduet.core.tasks import TaskSpec
from segduet.evaluation.patient_model_file import (
    MeasureRecord,
    PatientModelRecord,
    read_patient_model,
    write_patient_model,
)
from segduet.evaluation.patient_models import (
    PatientModel,
    cross_answers,
    fit_patient_model,
)
from segduet.evaluation.patients import PatientRule
from segduet.workflows.patient_cohort import (
    Patients,
    chosen_task,
    declared_order,
    known_classes,
    patients_to_answer,
    patients_with_a_class,
    predicted_masks,
    reference_masks,
)
from segduet.workflows.patient_files import PatientOutcome
from segduet.workflows.patient_inputs import (
    CollectedPatients,
    PatientSources,
    collect_patients,
    read_frozen_features,
    read_network_answers,
)
from segduet.workflows.patient_requests import ApplyRequest, PatientsRequest
from segduet.workflows.reference_dataset import ReferenceDataset

MODEL_FOLDER = "model"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cohort:
    """Everybody concerned, as the models see them."""

    fit: Patients
    score: Patients
    fitted_on: CollectedPatients
    answered: CollectedPatients
    measures: MeasureRecord
    warnings: list[str]


def answer_patients(root: DataRoot, request: PatientsRequest) -> RunManifest:
    """Fits on the training patients and answers the others, or all of them out of fold.

    Writes features.csv, patients.csv, patients.json, manifest.json and the folder `model`.

    Returns:
        The manifest; its outcome is the content of patients.json.

    Raises:
        RequestError: no such dataset or task, a task without exclusive classes, several images
            of a patient without a region to order them, or options that contradict.
        DataError: a predicted mask or answer of a patient is missing, a class has fewer patients
            than folds, or a damaged file.
    """
    started = time.time()
    _check_splits(request)
    dataset = ReferenceDataset.open(root, request.dataset)
    task = chosen_task(dataset, request.task)
    cohort = _cohort(dataset, task, request)
    classes = known_classes(dataset, task, cohort.fit)
    record = _record(dataset, task, cohort, classes, request)
    model = fit_patient_model(
        cohort.fitted_on.data, record.class_indices, record.settings, class_names=task.classes
    )
    record = record.model_copy(update={"chosen": model.stack.chosen})
    answers, choice = _answers(cohort, record, model, request)
    outcome = PatientOutcome(
        task=task,
        patients=cohort.score,
        collected=cohort.answered,
        answers=answers,
        references=known_classes(dataset, task, cohort.score),
        choice=choice,
        seed=request.settings.seed,
        selected_from=request.selected_from,
    )
    write_patient_model(request.out / MODEL_FOLDER, record, cohort.fitted_on.data)
    arguments = {
        "dataset": request.dataset,
        "predictions": str(request.predictions),
        "features": str(request.features) if request.features else None,
        "fit_split": request.fit_split if request.score_split else None,
        "score_split": request.score_split,
        "settings": request.settings.model_dump(mode="json"),
        "measures": cohort.measures.model_dump(mode="json"),
    }
    return _finish(request.out, outcome, arguments, cohort.warnings, started)


def apply_patient_model(root: DataRoot, request: ApplyRequest) -> RunManifest:
    """Answers patients with a model fitted before; the same files without the folder `model`.

    Raises:
        RequestError: no such dataset, one of other labels than the model's, or several images of a
            patient for a model of single images.
        DataError: a damaged model, a missing predicted mask, or no answers or features of the
            network although the model was fitted with them.
    """
    started = time.time()
    record, model = read_patient_model(request.model)
    dataset = ReferenceDataset.open(root, request.dataset)
    patients = patients_to_answer(dataset, request.score_split)
    _check_fits(record, dataset, patients, where=str(request.model))
    tasks = dataset.description.tasks
    sources = PatientSources(
        dataset=dataset,
        labels=record.label_scheme,
        task=record.task,
        measures=record.measures,
        answers=read_network_answers(request.predictions, tasks, record.task),
        features=read_frozen_features(request.features) if request.features else {},
        workers=request.workers,
    )
    masks = predicted_masks(dataset, request.predictions, patients)
    collected = collect_patients(sources, patients, masks)
    has_classes = record.task.name in {t.name for t in tasks}
    outcome = PatientOutcome(
        task=record.task,
        patients=patients,
        collected=collected,
        answers={**collected.data.answers, **model.answers(collected.data)},
        references=known_classes(dataset, record.task, patients) if has_classes else {},
        choice=_choice(model, record, "patients it was not fitted on, if these are others"),
        seed=request.seed,
    )
    now = metadata.version("scikit-learn")
    changed = f"fitted again with scikit-learn {now}, first fitted with {record.scikit_learn}"
    arguments = {
        "model": str(request.model),
        "dataset": request.dataset,
        "predictions": str(request.predictions),
        "score_split": request.score_split,
    }
    warnings = [] if now == record.scikit_learn else [changed]
    return _finish(request.out, outcome, arguments, warnings, started)


def _check_fits(
    record: PatientModelRecord, dataset: ReferenceDataset, patients: Patients, *, where: str
) -> None:
    if dataset.description.label_scheme != record.label_scheme:
        raise RequestError(
            where,
            found=f"a dataset with the labels {dataset.description.labels}",
            expected=f"{record.labels}, which the model measures",
            remedy="Apply the model to masks of its own labels.",
        )
    several = [patient for patient, cases in patients.items() if len(cases) > 1]
    if record.measures.order_by is None and several:
        raise RequestError(
            where,
            found=f"several images of patient {several[0]!r}",
            expected="one image per patient, as the model was fitted",
            remedy="Choose one image per patient, or fit a model with --order-by.",
        )


def _check_splits(request: PatientsRequest) -> None:
    if request.score_split == request.fit_split:
        raise RequestError(
            f"--score-split {request.score_split}",
            found="the split that is fitted on",
            expected="another one, or none for out-of-fold answers",
            remedy="Leave --score-split out, or choose another split.",
        )


def _cohort(dataset: ReferenceDataset, task: TaskSpec, request: PatientsRequest) -> _Cohort:
    is_crossed = request.score_split is None
    fit = patients_with_a_class(dataset, task, None if is_crossed else request.fit_split)
    score = fit if is_crossed else patients_to_answer(dataset, request.score_split)
    sources = _sources(dataset, task, request, {**fit, **score})
    masks = predicted_masks(dataset, request.predictions, score)
    answered = collect_patients(sources, score, masks)
    if request.fit_masks == "reference":
        fitted_on = collect_patients(sources, fit, reference_masks(dataset))
    elif is_crossed:
        fitted_on = answered
    else:
        fit_masks = predicted_masks(dataset, request.predictions, fit)
        fitted_on = collect_patients(sources, fit, fit_masks)
    warnings = _warnings(fitted_on, answered, request)
    return _Cohort(
        fit=fit,
        score=score,
        fitted_on=fitted_on,
        answered=answered,
        measures=sources.measures,
        warnings=warnings,
    )


def _sources(
    dataset: ReferenceDataset, task: TaskSpec, request: PatientsRequest, patients: Patients
) -> PatientSources:
    answers = read_network_answers(request.predictions, dataset.description.tasks, task)
    if request.rule is not None and not answers:
        raise RequestError(
            f"--aggregation {request.rule.value}",
            found=f"no answers to {task.name!r} in {request.predictions}",
            expected="a predictions.csv of a network that classifies",
            remedy="Leave the option out, or predict with such a network.",
        )
    measures = MeasureRecord(
        walls=request.walls,
        order_by=declared_order(dataset, task, request.order_by, patients),
        with_intensity=request.with_intensity,
        rule=(request.rule or PatientRule.MEAN) if answers else None,
    )
    return PatientSources(
        dataset=dataset,
        labels=dataset.description.label_scheme,
        task=task,
        measures=measures,
        answers=answers,
        features=read_frozen_features(request.features) if request.features else {},
        workers=request.workers,
    )


def _warnings(
    fitted_on: CollectedPatients, answered: CollectedPatients, request: PatientsRequest
) -> list[str]:
    """What is reported but cannot be fused, and what is taken on trust; one sentence each."""
    is_trained = request.rule is PatientRule.TRAINED
    if is_trained and "probabilities" not in fitted_on.data.features:
        raise RequestError(
            "--aggregation trained",
            found="no answers of the network for the training patients",
            expected="predictions of training patients, by networks that did not train on them",
            remedy="Predict them fold by fold, or choose --aggregation mean.",
        )
    extra = sorted(set(answered.data.answers) - set(fitted_on.data.answers))
    unfused = [
        f"{part} is reported and not fused: the network has no answers for the training patients"
        for part in extra
    ]
    trusted = sorted({*fitted_on.data.answers, *fitted_on.data.features} - {"morphometry"})
    return unfused + [
        f"{part}: taken as said by networks that were not trained on the patients fitted on"
        for part in trusted
    ]


def _record(
    dataset: ReferenceDataset,
    task: TaskSpec,
    cohort: _Cohort,
    classes: dict[str, str],
    request: PatientsRequest,
) -> PatientModelRecord:
    data = cohort.fitted_on.data
    return PatientModelRecord(
        task=task,
        labels=dataset.description.labels,
        regions_class_order=dataset.description.regions_class_order,
        measures=cohort.measures,
        settings=request.settings,
        classes=classes,
        blocks=tuple(data.features),
        answers=tuple(data.answers),
        chosen="",
    )


def _answers(
    cohort: _Cohort, record: PatientModelRecord, model: PatientModel, request: PatientsRequest
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Answers of every part, and how the choice among them was made."""
    data = cohort.answered.data
    if request.score_split is not None:
        choice = _choice(model, record, "patients of another split")
        return {**data.answers, **model.answers(data)}, choice
    crossed = cross_answers(
        cohort.fitted_on.data,
        data,
        record.class_indices,
        record.settings,
        class_names=record.task.classes,
    )
    choice = _choice(
        model, record, f"{record.settings.num_folds} patient folds, the choice made in each"
    )
    return {**data.answers, **crossed.answers}, {**choice, "chosen_in_folds": dict(crossed.chosen)}


def _choice(model: PatientModel, record: PatientModelRecord, figures_on: str) -> dict[str, Any]:
    return {
        "chosen": model.stack.chosen,
        "verdict": model.stack.verdict,
        "out_of_fold": {
            part: {"log_loss": f.log_loss, "macro_f1": f.macro_f1}
            for part, f in model.stack.figures.items()
        },
        "fitted_on_patients": len(record.classes),
        "figures_on": figures_on,
    }


def _finish(
    folder: Path,
    outcome: PatientOutcome,
    arguments: dict[str, Any],
    warnings: list[str],
    started: float,
) -> RunManifest:
    content = outcome.to_json()
    outcome.write(folder)
    manifest = RunManifest(
        command="patients",
        arguments=arguments,
        outcome=content,
        warnings=[*warnings, *_notes(content)],
        started=utc(started),
        seconds=time.time() - started,
    )
    manifest.write(folder)
    return manifest


def _notes(content: dict[str, Any]) -> list[str]:
    notes = [
        f"patient {patient} has {count} image(s), fewer than most"
        for patient, count in content["fewer_images"].items()
    ]
    return notes + [
        f"patient {patient} has no evidence in any image; all counted alike"
        for patient in content["without_evidence"]
    ]
