"""The case table: which cases there are, whose they are, and what is known about each (B01)."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self, cast, get_args

import numpy as np

from segduet.core.answers import encode_target
from segduet.core.errors import DataError
from segduet.core.files import read_csv, write_csv
from segduet.core.tasks import RESERVED_COLUMNS, TaskSpec

Split = Literal["train", "val", "test", ""]


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseRecord:
    """One case: an image, perhaps a mask, and the labels that are known.

    Attributes:
        case: unique id; images are `<case>_0000<ending>`, the mask is `<case><ending>`.
        patient: cases of one patient are never split between folds; the case id where unknown.
        site: hospital or scanner, empty where unknown.
        split: the split the data came with, empty where none was declared.
        labels: task name -> its cell (see `TaskSpec`); a task that is absent is unknown for this
            case.
    """

    case: str
    patient: str
    site: str = ""
    split: Split = ""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseTable:
    """All cases of a dataset, ids unique, order kept.

    Raises:
        DataError: a case id occurs twice, or one patient is in two splits.
    """

    records: tuple[CaseRecord, ...]
    where: str = "case table"

    def __post_init__(self) -> None:
        repeated = [c for c, n in Counter(r.case for r in self.records).items() if n > 1]
        if repeated:
            raise DataError(
                self.where,
                found=f"case {repeated[0]!r} more than once",
                expected="every case id once",
                remedy="Remove or rename the duplicate.",
            )
        self._check_patients()

    def _check_patients(self) -> None:
        first: dict[str, CaseRecord] = {}
        for record in self.records:
            other = first.setdefault(record.patient, record)
            if other.split != record.split:
                raise DataError(
                    self.where,
                    found=f"patient {record.patient!r} in split {other.split or 'none'!r} "
                    f"(case {other.case!r}) and {record.split or 'none'!r} (case {record.case!r})",
                    expected="all cases of a patient in one split",
                    remedy="Move the patient's cases to one split, or correct the patient column.",
                )

    def __iter__(self) -> Iterator[CaseRecord]:
        return iter(self.records)

    def __len__(self) -> int:
        return len(self.records)

    @property
    def cases(self) -> tuple[str, ...]:
        """All case ids in table order."""
        return tuple(r.case for r in self.records)

    def record(self, case: str) -> CaseRecord:
        """The record of a case.

        Raises:
            DataError: the table has no such case.
        """
        for record in self.records:
            if record.case == case:
                return record
        raise DataError(
            self.where,
            found=f"no row for case {case!r}",
            expected="a row for every case",
            remedy="Add the case to cases.csv (leave the class empty where it is unknown).",
        )

    def of_split(self, split: Split) -> tuple[str, ...]:
        """Ids of the cases that came with this split."""
        return tuple(r.case for r in self.records if r.split == split)

    def class_counts(self, task: TaskSpec, cases: Iterable[str]) -> tuple[int, ...]:
        """How many of `cases` have each class or finding of the task; unknown ones do not count."""
        labels = (self.record(case).labels.get(task.name) for case in cases)
        found = Counter(name for label in labels if label for name in task.named(label))
        return tuple(found[name] for name in task.classes)

    def targets(self, task: TaskSpec, cases: Sequence[str]) -> np.ndarray:
        """What is known about `cases`, in numbers: (N, T) float32, NaN where unknown.

        Raises:
            DataError: the table has no such case.
        """
        records = [self.record(case) for case in cases]
        rows = [
            encode_target(task, r.labels.get(task.name), where=f"{self.where}, case {r.case!r}")
            for r in records
        ]
        return np.array(rows, dtype=np.float32).reshape(len(records), task.num_targets)

    @classmethod
    def read(cls, source: Path, tasks: Sequence[TaskSpec]) -> Self:
        """Reads a `cases.csv` written by `write`; every label is checked against its task.

        Raises:
            DataError: a missing column, an unknown split or label, a duplicate case, or a patient
                in two splits; the message names the line.
        """
        columns, rows = read_csv(source)
        wanted = [*RESERVED_COLUMNS, *(t.name for t in tasks)]
        missing = [c for c in wanted if c not in columns]
        if missing:
            raise DataError(
                str(source),
                found=f"columns {columns} without {missing}",
                expected=f"columns {wanted}",
                remedy="Add the missing columns (empty = unknown).",
            )
        records = [
            _record(row, tasks, where=f"{source}, line {number}")
            for number, row in enumerate(rows, start=2)
        ]
        return cls(records=tuple(records), where=str(source))

    def write(self, target: Path, tasks: Sequence[TaskSpec]) -> None:
        """Writes the table atomically: case, patient, site, split, one column per task."""
        rows = (
            {
                "case": r.case,
                "patient": r.patient,
                "site": r.site,
                "split": r.split,
                **{t.name: r.labels.get(t.name, "") for t in tasks},
            }
            for r in self.records
        )
        write_csv(target, [*RESERVED_COLUMNS, *(t.name for t in tasks)], rows)


def _record(row: Mapping[str, str], tasks: Sequence[TaskSpec], *, where: str) -> CaseRecord:
    if not row["case"]:
        raise DataError(
            where, found="an empty case id", expected="an id", remedy="Fill or remove the line."
        )
    labels = {t.name: row[t.name] for t in tasks if row[t.name]}
    for task in tasks:
        encode_target(task, labels.get(task.name), where=f"{where}, case {row['case']!r}")
    return CaseRecord(
        case=row["case"],
        patient=row["patient"] or row["case"],
        site=row["site"],
        split=parse_split(row["split"], where=where),
        labels=labels,
    )


def parse_split(text: str, *, where: str) -> Split:
    """Checks a split name; `validation` is accepted for `val`.

    Raises:
        DataError: it is not one of train, val, test or empty.
    """
    name = {"validation": "val", "training": "train"}.get(text, text)
    if name not in get_args(Split):
        raise DataError(
            where,
            found=f"split {text!r}",
            expected="train, val, test or empty",
            remedy="Correct the split.",
        )
    return cast(Split, name)
