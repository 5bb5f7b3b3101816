"""What a prediction leaves behind when it ends, whole or not: tables of the cases that are done."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from segduet.core.tasks import TaskSpec
from segduet.inference.answers_file import ANSWERS_FILE, JudgedColumns, write_answers
from segduet.inference.progress import Progress
from segduet.workflows.head_files import write_features


@dataclass(frozen=True, slots=True, kw_only=True)
class CohortOutcome:
    """What became of a run's cases.

    Attributes:
        num_cases: how many were answered or failed.
        failed: case -> why.
        regions: case -> what fast mode looked at; empty in exact mode.
        withheld: task -> how many answers a calibration withheld.
        flagged: case -> what is contradictory about its mask and class.
    """

    num_cases: int
    failed: dict[str, str]
    regions: dict[str, dict[str, Any]]
    withheld: dict[str, int]
    flagged: dict[str, str]

    @classmethod
    def of(cls, progress: Progress, cases: Sequence[str]) -> Self:
        """Counts the cases that are done."""
        num_cases, failed, regions, flagged = 0, {}, {}, {}
        withheld: Counter[str] = Counter()
        for finished in progress.finished(cases):
            num_cases += 1
            if finished.row.status == "failed":
                failed[finished.row.case] = finished.row.message
            if finished.region is not None:
                regions[finished.row.case] = finished.region
            withheld.update({task: int(is_so) for task, is_so in finished.row.abstains.items()})
            if finished.row.is_flagged:
                flagged[finished.row.case] = str(finished.row.consistency)
        return cls(
            num_cases=num_cases,
            failed=failed,
            regions=regions,
            withheld=dict(withheld),
            flagged=flagged,
        )


def write_tables(
    folder: Path,
    progress: Progress,
    cases: Sequence[str],
    *,
    tasks: Sequence[TaskSpec],
    with_features: bool,
    judged: JudgedColumns | None,
) -> None:
    """Writes `predictions.csv`, and with features `features_<task>.npz`, of the cases done.

    Raises:
        StorageError: the disk is full.
    """
    rows = (finished.row for finished in progress.finished(cases))
    write_answers(folder / ANSWERS_FILE, rows, tasks, judged)
    if with_features:
        vectors = {
            finished.row.case: {
                task: np.asarray(values, dtype=np.float32)
                for task, values in finished.features.items()
            }
            for finished in progress.finished(cases)
        }
        write_features(folder, vectors)
