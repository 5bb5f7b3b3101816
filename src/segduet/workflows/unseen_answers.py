"""Class answers to cases that their network has not seen, beside what is true."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segduet.core.errors import DataError, RequestError
from segduet.core.folders import DataRoot
from segduet.core.scores import CaseScores
from segduet.core.tasks import TaskSpec
from segduet.evaluation.calibration_file import AnswerSettings
from segduet.evaluation.scoring import class_answer
from segduet.inference.answers_file import ANSWERS_FILE, AnswerRow, read_answers
from segduet.workflows.answer_origin import common_settings, require_weights
from segduet.workflows.conversion_cache import ConversionCache
from segduet.workflows.models import open_model, read_header
from segduet.workflows.planned_dataset import PlannedDataset
from segduet.workflows.sources import OpenedFolder, weights_sha256
from segduet.workflows.validation_folds import ValidatedFold, common_dataset, validated_folds


@dataclass(frozen=True, slots=True, kw_only=True)
class UnseenAnswers:
    """Answers to all validation cases of some folds, every case once.

    Attributes:
        planned: their dataset.
        tasks: what the networks answer, without scales.
        cases: with the answers to every task.
        weights_sha256: file of weights -> hash, of the networks that answered.
        answered: how they answered.
        folders: where the answers lie.
    """

    planned: PlannedDataset
    tasks: tuple[TaskSpec, ...]
    cases: tuple[CaseScores, ...]
    weights_sha256: dict[str, str]
    answered: AnswerSettings
    folders: tuple[Path, ...]


def collect_unseen_answers(root: DataRoot, sources: Sequence[Path]) -> UnseenAnswers:
    """Reads the answers to validation cases, each by the network of its own fold.

    Args:
        root: where the dataset and its folds are.
        sources: run folders, a model folder (all its folds), or evaluations with `--fold`.

    Raises:
        RequestError: a folder that is none of these or was not made out of fold, folds of several
            models, a network that answers no class questions, calibrated answers or answers in
            fast mode, settings that differ, weights that are others by now, a fold twice, or a
            case of the test split.
        DataError: an answer is missing, failed or damaged, or is of a case outside the fold.
    """
    folds = validated_folds(sources)
    planned = common_dataset(root, folds)
    model = _common_model(folds)
    opened = open_model(model, [fold.fold for fold in folds])
    tasks = _common_tasks(opened.weights, str(model))
    rows = [row for fold in folds for row in _rows(fold, planned, tasks)]
    answered = common_settings(folds)
    weights = weights_sha256(
        OpenedFolder(folder=opened, cache=ConversionCache.beside(opened.folder, None))
    )
    for fold in folds:
        require_weights(fold, opened.folder, weights)
    return UnseenAnswers(
        planned=planned,
        tasks=tasks,
        cases=tuple(_scores(row, planned, tasks) for row in rows),
        weights_sha256=weights,
        answered=answered,
        folders=tuple(fold.answers for fold in folds),
    )


def _common_model(folds: Sequence[ValidatedFold]) -> Path:
    models = sorted({fold.model.resolve() for fold in folds})
    if len(models) > 1:
        raise RequestError(
            ", ".join(str(fold.source) for fold in folds),
            found=f"folds of {len(models)} models, {[model.name for model in models]}",
            expected="folds of one model, whose answers are to be calibrated",
            remedy="Learn one calibration for each.",
        )
    names = [fold.fold for fold in folds]
    if len(set(names)) < len(names):
        raise RequestError(
            ", ".join(str(fold.source) for fold in folds),
            found=f"the folds {names}, of which one stands there twice",
            expected="every fold once",
            remedy="Name each once.",
        )
    return folds[0].model


def _common_tasks(weights: Sequence[Path], where: str) -> tuple[TaskSpec, ...]:
    """What the networks answer, by their headers."""
    read = (read_header(file).get("tasks", ()) for file in weights)
    found = {tuple(_without_scale(TaskSpec.model_validate(t)) for t in tasks) for tasks in read}
    if len(found) > 1 or not next(iter(found)):
        raise RequestError(
            where,
            found="folds that answer different questions" if len(found) > 1 else "masks alone",
            expected="networks that classify, and all alike",
            remedy="Name the folds of one training with tasks.",
        )
    return found.pop()


def _without_scale(task: TaskSpec) -> TaskSpec:
    return task.model_copy(update={"scale": None})


def _rows(
    fold: ValidatedFold, planned: PlannedDataset, tasks: Sequence[TaskSpec]
) -> list[AnswerRow]:
    """The answers to exactly the fold's validation cases."""
    if fold.predicted.get("calibration"):
        raise RequestError(
            str(fold.source),
            found=f"predictions that {fold.predicted['calibration']} has calibrated already",
            expected="probabilities as the network gives them",
            remedy="Predict without --calibration, or with --no-calibration.",
        )
    source = fold.answers / ANSWERS_FILE
    rows = {row.case: row for row in read_answers(source, tasks)}
    cases = fold.cases(planned)
    outside = sorted(rows.keys() - set(cases))
    missing = [case for case in cases if case not in rows or rows[case].status != "ok"]
    if outside or missing:
        raise DataError(
            str(source),
            found=f"an answer to {outside[0]!r}, which is no validation case of fold {fold.fold}"
            if outside
            else f"no answer to {missing[0]!r} ({len(missing)} of {len(cases)} missing or failed)",
            expected=f"the {len(cases)} validation cases of fold {fold.fold} in "
            f"{planned.folders.splits_file}",
            remedy="Finish the training's validation, or predict the fold's cases again.",
        )
    return [rows[case] for case in cases]


def _scores(row: AnswerRow, planned: PlannedDataset, tasks: Sequence[TaskSpec]) -> CaseScores:
    record = planned.table.record(row.case)
    answers = {
        task.name: class_answer(record, task, np.asarray(row.probabilities[task.name]))
        for task in tasks
    }
    return CaseScores(case=record.case, patient=record.patient, answers=answers)
