"""Reading back what two arms answered, and comparing it (F85)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from segduet.core.files import read_csv
from segduet.evaluation.output_agreement import (
    Agreement,
    CaseAnswers,
    compare_case,
    summarise_agreement,
)
from segduet.inference.answers_file import ANSWERS_FILE
from segduet.io.images import read_label_map

_OTHER_COLUMNS = ("case", "status", "message", "seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """One arm's answers on disk.

    Attributes:
        folder: label maps `<case><ending>` and, of a model that classifies, `predictions.csv`.
    """

    folder: Path
    ending: str

    def rows(self) -> dict[str, dict[str, str]]:
        """Lines of the table by case; empty without a table."""
        table = self.folder / ANSWERS_FILE
        if not table.is_file():
            return {}
        _, rows = read_csv(table)
        return {row["case"]: row for row in rows}

    def mask_file(self, case: str) -> Path:
        """Where the case's label map is, if it has one."""
        return self.folder / f"{case}{self.ending}"


def compare_outputs(
    first: Outputs, second: Outputs, cases: Sequence[str], *, seed: int
) -> Agreement:
    """Compares two arms' answers case by case, one pair of label maps in memory at a time.

    Args:
        first: one arm.
        second: the other.
        cases: all that were to be answered.
        seed: of the intervals' resampling.
    """
    tables = first.rows(), second.rows()
    answered = [
        [c for c in cases if c in rows or arm.mask_file(c).is_file()]
        for arm, rows in zip((first, second), tables, strict=True)
    ]
    common = [c for c in answered[0] if c in answered[1]]
    return summarise_agreement(
        [
            compare_case(c, _answers(first, c, tables[0]), _answers(second, c, tables[1]))
            for c in common
        ],
        only_in_one=sorted(set(answered[0]) ^ set(answered[1])),
        classes_compared=all(any(_classes(r) for r in rows.values()) for rows in tables),
        seed=seed,
    )


def _answers(arm: Outputs, case: str, rows: Mapping[str, Mapping[str, str]]) -> CaseAnswers:
    file = arm.mask_file(case)
    row = rows.get(case, {})
    return CaseAnswers(
        label_map=read_label_map(file).array[0] if file.is_file() else None,
        classes=_classes(row),
        numbers=_numbers(row),
    )


def _task_columns(row: Mapping[str, str]) -> list[str]:
    return [name for name in row if ":" not in name and name not in _OTHER_COLUMNS]


def _has_classes(row: Mapping[str, str], task: str) -> bool:
    """Probability columns belong to classes; a regression has none."""
    return any(name.startswith(f"{task}:") for name in row)


def _classes(row: Mapping[str, str]) -> dict[str, str]:
    return {task: row[task] for task in _task_columns(row) if _has_classes(row, task)}


def _numbers(row: Mapping[str, str]) -> dict[str, float]:
    values = [t for t in _task_columns(row) if not _has_classes(row, t)]
    chances = [name for name in row if ":" in name and not name.startswith("evidence:")]
    return {name: float(row[name]) for name in (*values, *chances) if row[name]}
