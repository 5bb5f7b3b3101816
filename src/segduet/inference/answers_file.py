"""`predictions.csv`: the case-level answers of a run, one line per case."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Self, cast, get_args

from segduet.core.answers import encode_target, parse_value
from segduet.core.errors import DataError
from segduet.core.files import read_csv, write_csv
from segduet.core.prediction import FailedCase, Prediction
from segduet.core.tasks import FINDING_SEPARATOR, TaskSpec

#: What the file is called.
ANSWERS_FILE = "predictions.csv"

Status = Literal["ok", "failed"]

_FIXED_COLUMNS = ("case", "status", "message", "seconds")
#: Whether mask and class can both be true, where a calibration has rules; what it says if so.
_CONSISTENCY = "consistency"
CONSISTENT = "ok"
_SAID = {True: "yes", False: "no"}

#: Probabilities written with three decimals by other programs may miss 1 by this much.
_SUM_TOLERANCE = 2e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedColumns:
    """What a calibration adds to the file.

    Attributes:
        tasks: those with a set and an abstention.
        has_consistency: whether mask and class are held against each other.
    """

    tasks: Sequence[TaskSpec] = ()
    has_consistency: bool = False

    @property
    def names(self) -> list[str]:
        """The columns, in their order."""
        columns = [column for task in self.tasks for column in _judged_columns(task)]
        return [*columns, *([_CONSISTENCY] if self.has_consistency else [])]


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
        sets: task name -> classes of its conformal set, perhaps none; of calibrated answers.
        abstains: task name -> whether the answer is withheld; of the tasks that have a set.
        consistency: `ok`, or what contradicts the mask; empty where no rule applies, None where
            there are no rules.
    """

    case: str
    status: Status
    message: str = ""
    seconds: float = 0.0
    labels: Mapping[str, str] = field(default_factory=dict)
    probabilities: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    evidence: Mapping[str, float] = field(default_factory=dict)
    sets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    abstains: Mapping[str, bool] = field(default_factory=dict)
    consistency: str | None = None

    @property
    def is_flagged(self) -> bool:
        """Whether the mask contradicts a class answer."""
        return self.consistency not in (None, "", CONSISTENT)

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
    judged: JudgedColumns | None = None,
) -> None:
    """Writes the table atomically; floats in full precision, answers of failed cases empty.

    (An `AnswerRow` is all that need be kept of a case whose label map is on disk already.)

    Columns: case, status, message, seconds, and per task `<task>` (the answer as the case table
    would hold it), `<task>:<class>` (probability of each class or finding; none for a regression)
    and `evidence:<task>`. Of calibrated answers, as `judged` says, `<task>_set` (classes such as
    `a|b`), `<task>_abstain` (yes or no) and `consistency` follow.

    Raises:
        DataError: two columns would have the same name.
        StorageError: the disk is full or the folder cannot be written.
    """
    columns = _columns(tasks, str(target), judged or JudgedColumns())
    rows = (a if isinstance(a, AnswerRow) else AnswerRow.of(a, tasks) for a in answers)
    blank = dict.fromkeys(columns, "")
    write_csv(target, columns, (blank | _to_cells(row, tasks) for row in rows))


def read_answers(source: Path, tasks: Sequence[TaskSpec]) -> list[AnswerRow]:
    """Reads a `predictions.csv`, ours or one made by hand, in file order.

    Raises:
        DataError: a column is missing or unknown, a case occurs twice, or a line has an unknown
            status, class or finding, a number that is none, or probabilities that are above 1 or,
            of exclusive classes, do not sum to 1 within 0.002; the message names line and case.
    """
    columns, lines = read_csv(source)
    judged = _judged_in(columns, tasks)
    wanted = _columns(tasks, str(source), judged)
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
        if row.status == "ok":
            row = _with_judgement(row, cells, judged, where)
        if row.case in rows:
            raise DataError(
                where,
                found="a second line for this case",
                expected="one",
                remedy="Remove one of them.",
            )
        rows[row.case] = row
    return list(rows.values())


def _columns(tasks: Sequence[TaskSpec], where: str, judged: JudgedColumns) -> list[str]:
    columns = list(_FIXED_COLUMNS)
    for task in tasks:
        columns += [task.name, *_probability_columns(task), _evidence_column(task)]
    columns += judged.names
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


def _judged_in(columns: Sequence[str], tasks: Sequence[TaskSpec]) -> JudgedColumns:
    """What a calibration added to a file of these columns."""
    own = {name for task in tasks for name in (task.name, *_probability_columns(task))}
    added = set(columns) - own
    exclusive = (task for task in tasks if task.has_exclusive_classes)
    return JudgedColumns(
        tasks=tuple(task for task in exclusive if added.intersection(_judged_columns(task))),
        has_consistency=_CONSISTENCY in added,
    )


def _judged_columns(task: TaskSpec) -> list[str]:
    return [f"{task.name}_set", f"{task.name}_abstain"]


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
        if task.name in row.sets:
            held = (FINDING_SEPARATOR.join(row.sets[task.name]), _SAID[row.abstains[task.name]])
            cells |= dict(zip(_judged_columns(task), held, strict=True))
    if row.consistency is not None:
        cells[_CONSISTENCY] = row.consistency
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


def _with_judgement(
    row: AnswerRow, cells: Mapping[str, str], judged: JudgedColumns, where: str
) -> AnswerRow:
    """The row with what a calibration said of it."""
    sets, abstains = {}, {}
    for task in judged.tasks:
        held, said = (cells[column] for column in _judged_columns(task))
        names = tuple(held.split(FINDING_SEPARATOR)) if held else ()
        for name in names:
            task.index(name, where=where)
        if said not in _SAID.values() or len(set(names)) < len(names):
            raise DataError(
                where,
                found=f"the set {held!r} of {task.name!r} with abstention {said!r}",
                expected=f"each class once, and one of {list(_SAID.values())}",
                remedy="Predict the case again.",
            )
        sets[task.name], abstains[task.name] = names, said == _SAID[True]
    consistency = cells[_CONSISTENCY] if judged.has_consistency else None
    return replace(row, sets=sets, abstains=abstains, consistency=consistency)


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
