"""Tables of what is known about cases: `case`, answers, and if known patient, site and split."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from segduet.core.answers import encode_target
from segduet.core.cases import CaseRecord, parse_split
from segduet.core.description import validated
from segduet.core.errors import DataError, RequestError
from segduet.core.files import read_csv
from segduet.core.tasks import FINDING_SEPARATOR, NO_FINDING, TaskSpec
from segduet.dataset.importers.options import ImportOptions
from segduet.dataset.importers.task_columns import TaskColumn

_OWN_COLUMNS = ("case", "patient", "site", "split")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassTable:
    """A user's table, checked.

    Attributes:
        records: one per row, in table order; ids unique.
        tasks: the tasks its columns stand for.
        where: the file, for messages.
    """

    records: tuple[CaseRecord, ...]
    tasks: tuple[TaskSpec, ...]
    where: str

    def by_case(self) -> dict[str, CaseRecord]:
        """Case id -> record."""
        return {record.case: record for record in self.records}


def read_class_table(source: Path, options: ImportOptions) -> ClassTable:
    """Reads a class table; further columns are ignored, an empty cell is unknown.

    Raises:
        RequestError: a class column is one of the table's own columns, or options contradict.
        DataError: unreadable, without a row, a missing column, a repeated or empty case id, an
            unknown split, class or finding, text for a number, or fewer than two classes.
    """
    columns, rows = read_csv(source)
    wanted = options.task_columns
    _check_columns(source, columns, [column.name for column in wanted])
    if not rows:
        raise DataError(
            str(source),
            found="no cases",
            expected="a line for every image",
            remedy="Fill the table.",
        )
    tasks = tuple(_task(source, [row[c.name] for row in rows if row[c.name]], c) for c in wanted)
    records: dict[str, CaseRecord] = {}
    for number, row in enumerate(rows, start=2):
        where = f"{source}, line {number}"
        record = _record(row, tasks, where=where)
        if records.setdefault(record.case, record) is not record:
            raise DataError(
                where,
                found=f"case {record.case!r} a second time",
                expected="one line per case",
                remedy="Remove one of the lines.",
            )
    return ClassTable(records=tuple(records.values()), tasks=tasks, where=str(source))


def require_labels_table(options: ImportOptions, layout: str) -> Path:
    """The table given for a layout that has no classes of its own.

    Raises:
        RequestError: none was given.
    """
    if options.labels_table is None:
        raise RequestError(
            f"import {layout}",
            found="no table of classes",
            expected="a CSV with the columns case and class (and patient, split if known)",
            remedy="Pass it with --labels-table.",
        )
    return options.labels_table


def _check_columns(source: Path, columns: list[str], wanted: list[str]) -> None:
    own = [name for name in wanted if name in _OWN_COLUMNS]
    if own:
        raise RequestError(
            "--class-column",
            found=f"{own[0]!r}",
            expected=f"a column other than {', '.join(_OWN_COLUMNS)}",
            remedy="Rename the column.",
        )
    missing = [name for name in ("case", *wanted) if name not in columns]
    if missing:
        raise DataError(
            str(source),
            found=f"the columns {columns}, without {missing}",
            expected=f"columns case and {', '.join(wanted)}",
            remedy="Add the column, or name the class column with --class-column or --task.",
        )


def _task(source: Path, found: list[str], column: TaskColumn) -> TaskSpec:
    where = f"{source}, column {column.name}"
    content = {"name": column.name, "kind": column.kind, "unit": column.unit}
    if column.kind == "regression":
        return validated(TaskSpec, content, where=where)
    classes = column.classes or _found_classes(found, column)
    if len(set(classes)) < 2:
        raise DataError(
            where,
            found=f"the classes {list(classes)}",
            expected="two different classes or more",
            remedy="Fill the column, or name the classes with --classes or --task.",
        )
    return validated(TaskSpec, {**content, "classes": classes}, where=where)


def _found_classes(cells: list[str], column: TaskColumn) -> tuple[str, ...]:
    if column.kind != "multilabel":
        return tuple(sorted(set(cells)))
    parts = {part.strip() for cell in cells for part in cell.split(FINDING_SEPARATOR)}
    return tuple(sorted(parts - {NO_FINDING}))


def _record(row: dict[str, str], tasks: Sequence[TaskSpec], *, where: str) -> CaseRecord:
    case = row["case"]
    if not case:
        raise DataError(
            where, found="an empty case id", expected="an id", remedy="Fill or remove the line."
        )
    for task in tasks:
        encode_target(task, row[task.name], where=f"{where}, case {case!r}")
    return CaseRecord(
        case=case,
        patient=row.get("patient") or case,
        site=row.get("site", ""),
        split=parse_split(row.get("split", ""), where=where),
        labels={task.name: row[task.name] for task in tasks if row[task.name]},
    )
