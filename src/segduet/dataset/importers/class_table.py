"""Tables of what is known about cases: `case`, a class, and if known patient, site and split."""

from dataclasses import dataclass
from pathlib import Path

from segduet.core.cases import CaseRecord, parse_split
from segduet.core.errors import DataError, RequestError
from segduet.core.files import read_csv
from segduet.core.tasks import TaskSpec
from segduet.dataset.importers.options import ImportOptions

_OWN_COLUMNS = ("case", "patient", "site", "split")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassTable:
    """A user's table, checked.

    Attributes:
        records: one per row, in table order; ids unique.
        task: the task its class column stands for.
        where: the file, for messages.
    """

    records: tuple[CaseRecord, ...]
    task: TaskSpec
    where: str

    def by_case(self) -> dict[str, CaseRecord]:
        """Case id -> record."""
        return {record.case: record for record in self.records}


def read_class_table(source: Path, options: ImportOptions) -> ClassTable:
    """Reads a class table; further columns are ignored, an empty class is unknown.

    Raises:
        RequestError: the class column is one of the table's own columns.
        DataError: unreadable, without a row, a missing column, a repeated or empty case id, an
            unknown split or class, or fewer than two classes.
    """
    columns, rows = read_csv(source)
    column = options.class_column
    _check_columns(source, columns, column)
    if not rows:
        raise DataError(
            str(source),
            found="no cases",
            expected="a line for every image",
            remedy="Fill the table.",
        )
    task = _task(source, [row[column] for row in rows if row[column]], options)
    records: dict[str, CaseRecord] = {}
    for number, row in enumerate(rows, start=2):
        where = f"{source}, line {number}"
        record = _record(row, task, where=where)
        if records.setdefault(record.case, record) is not record:
            raise DataError(
                where,
                found=f"case {record.case!r} a second time",
                expected="one line per case",
                remedy="Remove one of the lines.",
            )
    return ClassTable(records=tuple(records.values()), task=task, where=str(source))


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


def _check_columns(source: Path, columns: list[str], class_column: str) -> None:
    if class_column in _OWN_COLUMNS:
        raise RequestError(
            "option class_column",
            found=f"{class_column!r}",
            expected=f"a column other than {', '.join(_OWN_COLUMNS)}",
            remedy="Rename the column.",
        )
    missing = [name for name in ("case", class_column) if name not in columns]
    if missing:
        raise DataError(
            str(source),
            found=f"the columns {columns}, without {missing}",
            expected=f"columns case and {class_column}",
            remedy="Add the column, or name the class column with --class-column.",
        )


def _task(source: Path, found: list[str], options: ImportOptions) -> TaskSpec:
    classes = options.classes or tuple(sorted(set(found)))
    if len(set(classes)) < 2:
        raise DataError(
            f"{source}, column {options.class_column}",
            found=f"the classes {list(classes)}",
            expected="two classes or more",
            remedy="Fill the column, or name the classes with --classes.",
        )
    return TaskSpec(name=options.class_column, classes=classes)


def _record(row: dict[str, str], task: TaskSpec, *, where: str) -> CaseRecord:
    case, label = row["case"], row[task.name]
    if not case:
        raise DataError(
            where, found="an empty case id", expected="an id", remedy="Fill or remove the line."
        )
    if label:
        task.index(label, where=f"{where}, case {case!r}")
    return CaseRecord(
        case=case,
        patient=row.get("patient") or case,
        site=row.get("site", ""),
        split=parse_split(row.get("split", ""), where=where),
        labels={task.name: label} if label else {},
    )
