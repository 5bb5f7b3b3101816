"""`segduet evaluate`: predictions beside references, with intervals, baselines and targets."""

import math
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segduet.core.cases import CaseTable, Split
from segduet.core.errors import DataError, RequestError
from segduet.core.files import read_csv, write_json
from segduet.core.folders import DataRoot
from segduet.core.manifest import RunManifest, utc
from segduet.core.scores import CaseScores
from segduet.core.tasks import TaskSpec
from segduet.evaluation.baselines import Baseline, FittingCases, task_baselines
from segduet.evaluation.cohort import summarize
from segduet.evaluation.evaluate import References, evaluate_folder
from segduet.evaluation.scores_file import write_scores
from segduet.evaluation.targets import read_targets
from segduet.inference.answers_file import AnswerRow, read_answers
from segduet.io.images import read_label_map
from segduet.metrics.volume import volume_ml
from segduet.workflows.case_groups import case_groups
from segduet.workflows.reference_dataset import ReferenceDataset

SUMMARY_FILE = "summary.json"
SCORES_FILE = "scores.csv"

#: How far apart two experts' outlines often lie.
NSD_TOLERANCE_MM = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateRequest:
    """What to compare.

    Attributes:
        reference: a dataset (name or number), or a folder with dataset.json, cases.csv and masks.
        predictions: folder with masks and predictions.csv, as `predict` writes it.
        split: score the cases of this split.
        fold: score the validation cases of this fold of a planned dataset. Without split and
            fold, every case something is known about is scored.
        targets: a track's name or a targets file; None judges nothing.
        classes_only: score no masks, since the model draws none.
        overlap_only: of masks, only what overlaps and volumes say: no surfaces, no lesions, which
            take longer than everything else together.
        nsd_tolerance_mm: how far surfaces may lie apart and count as the same, >= 0.
        seed: of the resampling behind the intervals.
        selected_from: candidates the model was chosen from on these very cases.
        by: what to divide the cases by (`case_groups`), each for a table of its own.
    """

    reference: str
    predictions: Path
    out: Path
    split: Split | None = None
    fold: str | None = None
    targets: str | None = None
    classes_only: bool = False
    overlap_only: bool = False
    nsd_tolerance_mm: float = NSD_TOLERANCE_MM
    seed: int = 0
    selected_from: int = 1
    by: Sequence[str] = ()
    workers: int = 1


def evaluate(root: DataRoot, request: EvaluateRequest) -> RunManifest:
    """Scores every case; writes scores.csv, summary.json and the manifest.

    Returns:
        The manifest; its outcome is the content of summary.json.

    Raises:
        DataError: a prediction is missing, extra, failed or on another grid, or a damaged file.
        RequestError: no such dataset, a tolerance that is none, or options that exclude each other.
    """
    started = time.time()
    _check_tolerance(request.nsd_tolerance_mm)
    _check_masks(request)
    nsd_tolerance_mm = _tolerance(request)
    dataset = ReferenceDataset.open(root, request.reference)
    table = request.predictions / "predictions.csv"
    tasks = _answered(table, dataset.description.tasks)
    references = dataset.references(tasks, masks_are_scored=not request.classes_only)
    scores = evaluate_folder(
        references,
        request.predictions,
        answers=_answers(table, tasks) if table.is_file() else {},
        cases=_chosen_cases(root, request, references.table),
        nsd_tolerance_mm=nsd_tolerance_mm,
        workers=request.workers,
    )
    summary = summarize(
        scores,
        references.labels,
        references.tasks,
        seed=request.seed,
        selected_from=request.selected_from,
        baselines=_baselines(references, scores, workers=request.workers),
        targets=read_targets(request.targets) if request.targets else (),
        nsd_tolerance_mm=nsd_tolerance_mm,
        groups=_groups(request, dataset, scores, references),
    ).to_json()
    manifest = RunManifest(
        command="evaluate",
        arguments=_arguments(request),
        outcome=summary,
        warnings=[
            f"{task.name!r} was not scored: {table} has no answers to it"
            for task in dataset.description.tasks
            if task not in tasks
        ],
        started=utc(started),
        seconds=time.time() - started,
    )
    write_scores(request.out / SCORES_FILE, scores, references.tasks)
    write_json(request.out / SUMMARY_FILE, summary)
    manifest.write(request.out)
    return manifest


def _arguments(request: EvaluateRequest) -> dict[str, Any]:
    return {
        "reference": request.reference,
        "predictions": str(request.predictions),
        "split": request.split,
        "fold": request.fold,
        "classes_only": request.classes_only,
        "overlap_only": request.overlap_only,
        "nsd_tolerance_mm": _tolerance(request),
        "by": list(request.by),
    }


def _groups(
    request: EvaluateRequest,
    dataset: ReferenceDataset,
    scores: Sequence[CaseScores],
    references: References,
) -> dict[str, dict[str, str]]:
    regions = list(references.labels.foreground) if any(s.volumes_ml for s in scores) else []
    table = dataset.folder / "cases.csv"
    return case_groups(request.by, table, scores, regions, references.tasks)


def _check_tolerance(nsd_tolerance_mm: float) -> None:
    if not (math.isfinite(nsd_tolerance_mm) and nsd_tolerance_mm >= 0):
        raise RequestError(
            "--nsd-tolerance-mm",
            found=f"{nsd_tolerance_mm}",
            expected="a distance in millimetres, 0 or more",
            remedy="Take what two experts would differ by, such as 2.",
        )


def _tolerance(request: EvaluateRequest) -> float | None:
    """Of the surfaces that are measured; None where none are."""
    return None if request.overlap_only or request.classes_only else request.nsd_tolerance_mm


def _check_masks(request: EvaluateRequest) -> None:
    if request.overlap_only and request.classes_only:
        raise RequestError(
            "segduet evaluate",
            found="both --overlap-only and --classes-only",
            expected="masks to score, or none, not both",
            remedy="Choose one.",
        )


def _chosen_cases(
    root: DataRoot, request: EvaluateRequest, table: CaseTable
) -> tuple[str, ...] | None:
    if request.split and request.fold:
        raise RequestError(
            "segduet evaluate",
            found="both --split and --fold",
            expected="one of them, or neither",
            remedy="Choose one.",
        )
    if request.fold:
        from segduet.workflows.planned_dataset import PlannedDataset  # no other case needs plans

        return PlannedDataset.open(root, request.reference).fold(request.fold).val
    if request.split is None:
        return None
    cases = table.of_split(request.split)
    if not cases:
        raise RequestError(
            f"--split {request.split}",
            found=f"no case of this split in {table.where}",
            expected=f"one of {sorted({r.split for r in table if r.split}) or 'no splits here'}",
            remedy="Choose one of them, or leave the option out.",
        )
    return cases


def _answered(source: Path, tasks: Sequence[TaskSpec]) -> tuple[TaskSpec, ...]:
    """The tasks the predictions have answers to; none without a table, or of a stock model."""
    columns = read_csv(source)[0] if source.is_file() else []
    return tuple(task for task in tasks if task.name in columns)


def answered_rows(source: Path, tasks: Sequence[TaskSpec]) -> list[AnswerRow]:
    """The lines of a predictions.csv in which every case has its answer.

    Raises:
        DataError: a failed case, or a damaged file.
    """
    rows = read_answers(source, tasks)
    failed = [row for row in rows if row.status == "failed"]
    if failed:
        raise DataError(
            str(source),
            found=f"{len(failed)} failed cases, first {failed[0].case!r}: {failed[0].message}",
            expected="an answer for every case",
            remedy="Mend the case and predict again; failed cases are not left out of a mean.",
        )
    return rows


def _answers(source: Path, tasks: Sequence[TaskSpec]) -> dict[str, dict[str, np.ndarray]]:
    """The numbers of the answers by case and task."""
    rows = answered_rows(source, tasks)
    return {r.case: {t: np.asarray(p) for t, p in r.probabilities.items()} for r in rows}


def _baselines(
    references: References, scores: Sequence[CaseScores], *, workers: int
) -> list[Baseline]:
    """Baselines of every task, fitted on the training cases that are not scored here.

    Where no masks are scored, or some case has none, only those that look at nothing.
    """
    scored = [s.case for s in scores]
    regions = list(references.labels.foreground)
    has_volumes = all(s.volumes_ml for s in scores)
    volumes = np.array([[s.volumes_ml[r][1] for r in regions] for s in scores if has_volumes])
    found: list[Baseline] = []
    for task in references.tasks:
        fitted = [
            r.case
            for r in references.table
            if r.split in ("train", "") and r.case not in scored and task.name in r.labels
        ]
        if has_volumes:
            fitted = [case for case in fitted if references.mask(case) is not None]
        targets = references.table.targets(task, fitted)
        if len(np.unique(targets, axis=0)) > 1:
            sizes = _sizes(references, fitted, workers) if has_volumes else np.empty((0, 0))
            fitting = FittingCases(targets=targets, volumes_ml=sizes)
            found += task_baselines(task, fitting, scored, volumes if has_volumes else None)
    return found


def _sizes(references: References, cases: Sequence[str], workers: int) -> np.ndarray:
    """Region volumes in the reference masks: (cases, regions) ml."""
    with ThreadPoolExecutor(max(1, workers)) as pool:
        return np.array(list(pool.map(lambda case: _reference_volumes(references, case), cases)))


def _reference_volumes(references: References, case: str) -> list[float]:
    mask = references.mask(case)
    assert mask is not None, case
    volume = read_label_map(mask)
    labels = references.labels
    return [
        volume_ml(labels.mask(volume.array, r), voxel_volume_ml=volume.geometry.voxel_volume_ml)
        for r in labels.foreground
    ]
