"""`scores.csv`: one line per case, every number of it, and why a number is missing."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from segduet.core.errors import DataError
from segduet.core.files import read_csv, write_csv
from segduet.core.scores import CaseScores, ClassAnswer, Score
from segduet.core.tasks import TaskSpec

#: Column with a JSON object: column name -> why that column is empty.
UNDEFINED = "undefined"
_FIRST_COLUMNS = ("case", "patient")
_VOLUMES = ("reference_ml", "predicted_ml")


def write_scores(target: Path, cases: Sequence[CaseScores], tasks: Sequence[TaskSpec]) -> None:
    """Writes one line per case, atomically.

    Columns: case, patient, `REGION/METRIC`, `REGION/reference_ml`, `REGION/predicted_ml`,
    `TASK/reference`, `TASK/predicted`, `TASK/p/CLASS` (not of a regression), undefined. Numbers
    are written in full.
    """
    metrics = {
        (region, metric): None
        for case in cases
        for region, scores in case.segmentation.items()
        for metric in scores
    }
    regions = dict.fromkeys(region for case in cases for region in case.volumes_ml)
    columns = [
        *_FIRST_COLUMNS,
        *(f"{region}/{metric}" for region, metric in metrics),
        *(f"{region}/{side}" for region in regions for side in _VOLUMES),
        *(column for task in tasks for column in _task_columns(task)),
        UNDEFINED,
    ]
    write_csv(target, columns, (_row(case, columns, tasks) for case in cases))


def read_scores(source: Path, tasks: Sequence[TaskSpec]) -> list[CaseScores]:
    """Reads what `write_scores` wrote, to the same values.

    Raises:
        DataError: missing, unreadable, a column is missing, or a cell is not a number.
    """
    columns, rows = read_csv(source)
    wanted = [*_FIRST_COLUMNS, *(c for task in tasks for c in _task_columns(task)), UNDEFINED]
    missing = [column for column in wanted if column not in columns]
    if missing:
        raise DataError(
            str(source),
            found=f"no columns {missing}",
            expected="a scores.csv of `segduet evaluate` with the tasks of the dataset",
            remedy="Evaluate again.",
        )
    cases = []
    for number, row in enumerate(rows, start=2):
        try:
            cases.append(_case(row, tasks))
        except (ValueError, AssertionError, AttributeError) as error:
            raise DataError(
                f"{source}, line {number}",
                found=f"a value that cannot be read ({error})",
                expected="numbers as `segduet evaluate` wrote them",
                remedy="Evaluate again.",
            ) from error
    return cases


def _task_columns(task: TaskSpec) -> list[str]:
    classes = (f"{task.name}/p/{name}" for name in task.classes)
    return [f"{task.name}/reference", f"{task.name}/predicted", *classes]


def _row(case: CaseScores, columns: Sequence[str], tasks: Sequence[TaskSpec]) -> dict[str, str]:
    row = dict.fromkeys(columns, "")
    undefined = {}
    for region, scores in case.segmentation.items():
        for metric, score in scores.items():
            row[f"{region}/{metric}"] = "" if score.value is None else repr(float(score.value))
            if score.value is None:
                undefined[f"{region}/{metric}"] = score.reason
    for region, volumes in case.volumes_ml.items():
        for side, volume in zip(_VOLUMES, volumes, strict=True):
            row[f"{region}/{side}"] = repr(float(volume))
    for task in tasks:
        if task.name in case.answers:
            row.update(_answer_cells(task, case.answers[task.name]))
    cells = {"case": case.case, "patient": case.patient}
    return {**row, **cells, UNDEFINED: json.dumps(undefined) if undefined else ""}


def _answer_cells(task: TaskSpec, answer: ClassAnswer) -> dict[str, str]:
    # a regression's one number is its answer already
    chances = [repr(p) for p in answer.probabilities] if task.classes else []
    cells = (answer.reference or "", answer.predicted, *chances)
    return dict(zip(_task_columns(task), cells, strict=True))


def _case(row: Mapping[str, str], tasks: Sequence[TaskSpec]) -> CaseScores:
    undefined = json.loads(row[UNDEFINED]) if row[UNDEFINED] else {}
    of_tasks = {column for task in tasks for column in _task_columns(task)}
    segmentation: dict[str, dict[str, Score]] = {}
    volumes: dict[str, dict[str, float]] = {}
    for column, cell in row.items():
        if "/" not in column or column in of_tasks or not (cell or column in undefined):
            continue
        region, name = column.rsplit("/", 1)
        if name in _VOLUMES:
            volumes.setdefault(region, {})[name] = float(cell)
        else:
            segmentation.setdefault(region, {})[name] = _score(cell, undefined.get(column, ""))
    return CaseScores(
        case=row["case"],
        patient=row["patient"],
        segmentation=segmentation,
        volumes_ml={r: (v["reference_ml"], v["predicted_ml"]) for r, v in volumes.items()},
        answers={t.name: _answer(row, t) for t in tasks if row[f"{t.name}/predicted"]},
    )


def _score(cell: str, reason: str) -> Score:
    return Score(value=float(cell)) if cell else Score(value=None, reason=reason)


def _answer(row: Mapping[str, str], task: TaskSpec) -> ClassAnswer:
    predicted = row[f"{task.name}/predicted"]
    chances = [row[f"{task.name}/p/{name}"] for name in task.classes]
    return ClassAnswer(
        reference=row[f"{task.name}/reference"] or None,
        predicted=predicted,
        probabilities=tuple(float(number) for number in (chances or [predicted])),
        kind=task.kind,
        unit=task.unit or "",
    )
