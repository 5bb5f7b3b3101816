"""`segduet calibrate check`: whether sets and abstentions keep their promise on known cases."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segduet.core.cases import CaseTable
from segduet.core.errors import RequestError
from segduet.core.files import read_csv, write_json
from segduet.core.folders import DataRoot
from segduet.core.manifest import RunManifest, read_manifest, utc
from segduet.core.scores import CaseScores
from segduet.core.tasks import TaskSpec
from segduet.evaluation.calibration_figures import reliability
from segduet.evaluation.calibration_fit import questions
from segduet.evaluation.calibration_risk import abstention_curve
from segduet.evaluation.classification import TaskAnswers, collect_answers
from segduet.evaluation.conformal_scores import JudgedAnswers, flag_figures, set_figures
from segduet.evaluation.scoring import class_answer
from segduet.inference.answers_file import ANSWERS_FILE, AnswerRow
from segduet.workflows.evaluation import answered_rows
from segduet.workflows.reference_dataset import ReferenceDataset


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckCalibrationRequest:
    """What to check.

    Attributes:
        reference: a dataset (name or number), or a folder with dataset.json and cases.csv.
        predictions: folder that `predict` wrote with a calibration.
        out: the file to write.
        seed: of the resampling behind the intervals.
    """

    reference: str
    predictions: Path
    out: Path
    seed: int = 0


def check_calibration(root: DataRoot, request: CheckCalibrationRequest) -> RunManifest:
    """Judges every predicted case whose answer is known; writes the figures and a manifest.

    Args:
        root: where datasets are.
        request: what to check.

    Returns:
        The manifest, also written as `<file>_manifest.json`; its outcome is the content of the
        file: per task `reliability`, and where there are sets `sets` and `abstention`;
        `consistency` where masks were held against classes.

    Raises:
        RequestError: no such dataset, or predictions without a calibration.
        DataError: a failed case, one that the dataset does not have, or a damaged file.
    """
    started = time.time()
    dataset = ReferenceDataset.open(root, request.reference)
    source = request.predictions / ANSWERS_FILE
    columns = read_csv(source)[0]
    tasks = [t for t in dataset.description.tasks if t.name in columns and t.classes]
    answered = [t for t in dataset.description.tasks if t.name in columns]
    rows = {row.case: row for row in answered_rows(source, answered)}
    _require_judged(rows, source)
    known = {task.name: _known(task, rows, dataset.table) for task in tasks}
    applied = _applied(request.predictions)
    levels = applied.get("tasks", {})
    outcome: dict[str, Any] = {
        "num_cases": len(rows),
        "tasks": {
            task.name: {
                "alpha": levels.get(task.name, {}).get("alpha"),
                **_figures(task, rows, known[task.name], request.seed),
            }
            for task in tasks
        },
    }
    if flags := _flags(tasks, rows, known, request.seed):
        outcome["consistency"] = flags
    write_json(request.out, outcome)
    manifest = RunManifest(
        command="calibrate check",
        arguments={
            "reference": request.reference,
            "predictions": str(request.predictions),
            "seed": request.seed,
        },
        outcome=outcome,
        warnings=_cautions(dataset, rows, applied.get("dataset")),
        started=utc(started),
        seconds=time.time() - started,
    )
    manifest.write(request.out.parent, f"{request.out.stem}_manifest.json")
    return manifest


def _applied(predictions: Path) -> dict[str, Any]:
    """What the manifest of the predictions says of their calibration; empty without one."""
    manifest = read_manifest(predictions, "predict") or {}
    return manifest.get("outcome", {}).get("calibration") or {}


def _require_judged(rows: Mapping[str, AnswerRow], source: Path) -> None:
    if not any(row.sets or row.consistency is not None for row in rows.values()):
        raise RequestError(
            str(source),
            found=f"{len(rows)} answers without sets",
            expected="answers that were calibrated",
            remedy="Predict with --calibration, a file of `segduet calibrate learn`.",
        )


def _known(task: TaskSpec, rows: Mapping[str, AnswerRow], table: CaseTable) -> list[CaseScores]:
    """The cases whose answer to a task is known, as they were answered."""
    records = [table.record(case) for case in rows]
    return [
        CaseScores(
            case=record.case,
            patient=record.patient,
            answers={
                task.name: class_answer(
                    record, task, np.asarray(rows[record.case].probabilities[task.name])
                )
            },
        )
        for record in records
        if record.labels.get(task.name)
    ]


def _figures(
    task: TaskSpec, rows: Mapping[str, AnswerRow], known: Sequence[CaseScores], seed: int
) -> dict[str, Any]:
    answers = collect_answers(known, task)
    if not known:
        return {"n": 0, "reason": "no case has a known answer"}
    figures: dict[str, Any] = {
        "n": len(known),
        "reliability": {q.task.name: reliability(q, seed=seed) for q in questions(answers)},
    }
    if all(task.name in rows[case.case].sets for case in known):
        judged = _judged(task, [rows[case.case] for case in known], answers)
        figures["sets"] = set_figures(judged, seed=seed)
        figures["abstention"] = abstention_curve(
            answers.probabilities.max(1),
            judged.decided != judged.reference,
            answers.patients,
            seed=seed,
        )
    return figures


def _judged(task: TaskSpec, rows: Sequence[AnswerRow], answers: TaskAnswers) -> JudgedAnswers:
    return JudgedAnswers(
        classes=task.classes,
        reference=answers.reference,
        decided=np.array([task.classes.index(row.labels[task.name]) for row in rows]),
        members=np.array([[c in row.sets[task.name] for c in task.classes] for row in rows]),
        abstains=np.array([row.abstains[task.name] for row in rows]),
        patients=answers.patients,
    )


def _flags(
    tasks: Sequence[TaskSpec],
    rows: Mapping[str, AnswerRow],
    known: Mapping[str, Sequence[CaseScores]],
    seed: int,
) -> dict[str, Any]:
    """Per task with classes: how right it is where the mask contradicts a class."""
    if all(row.consistency is None for row in rows.values()):
        return {}
    figures = {}
    for task in tasks:
        cases = known[task.name]
        if task.has_exclusive_classes and cases:
            answers = [case.answers[task.name] for case in cases]
            figures[task.name] = flag_figures(
                np.array([rows[case.case].is_flagged for case in cases]),
                np.array(
                    [
                        rows[c.case].labels[task.name] == a.reference
                        for c, a in zip(cases, answers, strict=True)
                    ]
                ),
                tuple(case.patient for case in cases),
                seed=seed,
            )
    return figures


def _cautions(
    dataset: ReferenceDataset, rows: Mapping[str, AnswerRow], learned_on: str | None
) -> list[str]:
    """What a reader of the figures should know first, one sentence each."""
    cautions = []
    tasks = {task.name for task in dataset.description.tasks}
    left_out = [
        record.case
        for record in dataset.table
        if record.case not in rows and record.split == "test" and tasks & record.labels.keys()
    ]
    if left_out:
        cautions.append(f"{len(left_out)} test cases with a known answer have no prediction")
    seen = [case for case in rows if dataset.table.record(case).split != "test"]
    if seen and learned_on == dataset.folder.name:
        cautions.append(
            f"{len(seen)} of {len(rows)} cases are not of the test split of {learned_on}, where "
            "the calibration was learned: what is promised for new cases cannot be seen on them"
        )
    return cautions
