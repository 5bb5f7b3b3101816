"""`predictions.csv`: the case-level answers of a run, one line per case."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self, cast, get_args

from segduet.core.answers import encode_target, parse_value
from segduet.core.errors import DataError
from segduet.core.files import read_csv, write_csv
from segduet.core.prediction import FailedCase, Prediction
from segduet.core.tasks import TaskSpec

Status = Literal["ok", "failed"]

_FIXED_COLUMNS = ("case", "status", "message", "seconds")

#: Probabilities written with three decimals by other programs may miss 1 by this much.
_SUM_TOLERANCE = 2e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerRow:
    """One line of the file.

    Attributes:
        case: case id.
        status: whether there are answers.
        message: why there are none; empty for `ok`.
        seconds: time for the case, >= 0; 0 for a failed one.
        labels: task name -> answer as the case table would hold it (class name, findings such as
            `a|b`, number); empty for a failed case.
        probabilities: task name -> (answer_size,) numbers of the answer, in the task's class order;
            the value itself for a regression.
        evidence: task name -> predicted voxels the answer rests on.
    """

    case: str
    status: Status
    message: str = ""
    seconds: float = 0.0
    labels: Mapping[str, str] = field(default_factory=dict)
    probabilities: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    evidence: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, outcome: Prediction | FailedCase, tasks: Sequence[TaskSpec]) -> Self:
        """The line for what became of a case."""
        if isinstance(outcome, FailedCase):
            return cls(case=outcome.case, status="failed", message=outcome.message)
        return cls(
            case=outcome.case,
            status="ok",
            seconds=sum(outcome.seconds.values()),
            labels={t.name: outcome.label(t) for t in tasks},
            probabilities={
                t.name: tuple(float(p) for p in outcome.probabilities[t.name]) for t in tasks
            },
            evidence={t.name: outcome.evidence[t.name] for t in tasks},
        )


def write_answers(
    target: Path,
    answers: Iterable[Prediction | FailedCase | AnswerRow],
    tasks: Sequence[TaskSpec],
) -> None:
    """Writes the table atomically; floats in full precision, answers of failed cases empty.

    (An `AnswerRow` is all that need be kept of a case whose label map is on disk already.)

    Columns: case, status, message, seconds, and per task `<task>` (the answer as the case table
    would hold it), `<task>:<class>` (probability of each class or finding; none for a regression)
    and `evidence:<task>`.

    Raises:
        DataError: two columns would have the same name.
        StorageError: the disk is full or the folder cannot be written.
    """
    rows = (a if isinstance(a, AnswerRow) else AnswerRow.of(a, tasks) for a in answers)
    write_csv(target, _columns(tasks, str(target)), (_to_cells(row, tasks) for row in rows))


def read_answers(source: Path, tasks: Sequence[TaskSpec]) -> list[AnswerRow]:
    """Reads a `predictions.csv`, ours or one made by hand, in file order.

    Raises:
        DataError: a column is missing or unknown, a case occurs twice, or a line has an unknown
            status, class or finding, a number that is none, or probabilities that are above 1 or,
            of exclusive classes, do not sum to 1 within 0.002; the message names line and case.
    """
    columns, lines = read_csv(source)
    wanted = _columns(tasks, str(source))
    if set(columns) != set(wanted):
        raise DataError(
            str(source),
            found=f"missing columns {sorted(set(wanted) - set(columns))}, "
            f"unknown columns {sorted(set(columns) - set(wanted))}",
            expected=f"columns {wanted}",
            remedy="Predict with a model for these tasks, or correct the header.",
        )
    rows: dict[str, AnswerRow] = {}
    for number, cells in enumerate(lines, start=2):
        where = f"{source}, line {number}, case {cells['case']!r}"
        row = _from_cells(cells, tasks, where)
        if row.case in rows:
            raise DataError(
                where,
                found="a second line for this case",
                expected="one",
                remedy="Remove one of them.",
            )
        rows[row.case] = row
    return list(rows.values())


def _columns(tasks: Sequence[TaskSpec], where: str) -> list[str]:
    columns = list(_FIXED_COLUMNS)
    for task in tasks:
        columns += [task.name, *_probability_columns(task), _evidence_column(task)]
    if len(set(columns)) != len(columns):
        raise DataError(
            where,
            found=f"the columns {columns}, of which two have the same name",
            expected="tasks not called like another column",
            remedy="Rename the task in dataset.json.",
        )
    return columns


def _probability_columns(task: TaskSpec) -> list[str]:
    return [f"{task.name}:{name}" for name in task.classes]


def _evidence_column(task: TaskSpec) -> str:
    return f"evidence:{task.name}"


def _to_cells(row: AnswerRow, tasks: Sequence[TaskSpec]) -> dict[str, str]:
    cells = {
        "case": row.case,
        "status": row.status,
        "message": row.message,
        "seconds": f"{row.seconds:.3f}",
    }
    for task in tasks:
        names = [task.name, *_probability_columns(task), _evidence_column(task)]
        cells |= dict.fromkeys(names, "")
        if row.status == "ok":
            # a regression's one number is its answer already
            chances = row.probabilities[task.name] if task.classes else ()
            numbers = [*chances, row.evidence[task.name]]
            values = [row.labels[task.name], *(repr(float(n)) for n in numbers)]
            cells |= dict(zip(names, values, strict=True))
    return cells


def _from_cells(cells: Mapping[str, str], tasks: Sequence[TaskSpec], where: str) -> AnswerRow:
    status = cells["status"]
    if not cells["case"] or status not in get_args(Status):
        raise DataError(
            where,
            found=f"case {cells['case']!r} with status {status!r}",
            expected=f"a case id and one of {get_args(Status)}",
            remedy="Correct the line.",
        )
    answered = tasks if status == "ok" else ()
    for task in answered:
        _check_answer(cells[task.name], task, where)
    return AnswerRow(
        case=cells["case"],
        status=cast(Status, status),
        message=cells["message"],
        seconds=_amount(cells, "seconds", where),
        labels={t.name: cells[t.name] for t in answered},
        probabilities={t.name: _probabilities(cells, t, where) for t in answered},
        evidence={t.name: _amount(cells, _evidence_column(t), where) for t in answered},
    )


def _check_answer(cell: str, task: TaskSpec, where: str) -> None:
    if not cell:
        raise DataError(
            where,
            found=f"an empty answer to {task.name!r}",
            expected="an answer of every case whose status is ok",
            remedy="Predict the case again.",
        )
    encode_target(task, cell, where=where)


def _probabilities(cells: Mapping[str, str], task: TaskSpec, where: str) -> tuple[float, ...]:
    if task.kind == "regression":
        return (parse_value(task, cells[task.name], where=where),)
    values = tuple(_amount(cells, column, where) for column in _probability_columns(task))
    sum_is_right = abs(math.fsum(values) - 1) <= _SUM_TOLERANCE
    if max(values) > 1 + _SUM_TOLERANCE or (task.has_exclusive_classes and not sum_is_right):
        raise DataError(
            where,
            found=f"probabilities {values} for {task.name!r}, which sum to {math.fsum(values):g}",
            expected="probabilities that sum to 1"
            if task.has_exclusive_classes
            else "probabilities of at most 1",
            remedy="Correct the line.",
        )
    return values


def _amount(cells: Mapping[str, str], column: str, where: str) -> float:
    """A finite number that is not negative."""
    try:
        number = float(cells[column])
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        raise DataError(
            f"{where}, column {column!r}",
            found=repr(cells[column]),
            expected="a number of at least 0",
            remedy="Correct the line.",
        )
    return number
