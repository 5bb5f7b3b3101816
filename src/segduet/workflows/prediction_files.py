"""What a prediction leaves behind: its files, and when it ends the tables of the cases done."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from segduet.core.tasks import TaskSpec
from segduet.inference.answers_file import ANSWERS_FILE, JudgedColumns, write_answers
from segduet.inference.progress import Progress
from segduet.inference.shards import Shard
from segduet.workflows.head_files import attention_file, features_file, write_features
from segduet.workflows.models import Model
from segduet.workflows.prediction_request import PredictRequest


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


def written_files(request: PredictRequest, model: Model, cases: Iterable[str]) -> Iterator[Path]:
    """Every file that a run over these cases may write, but for its progress.

    Args:
        request: what is to be predicted.
        model: whose answers they are.
        cases: case ids.
    """
    folder, tasks = request.out, [task.name for task in model.tasks]
    yield folder / manifest_name(request.shard)
    yield folder / ANSWERS_FILE
    yield from (features_file(folder, task) for task in tasks)
    for case in cases:
        yield mask_file(request, model, case)
        yield from (attention_file(folder, case, task) for task in tasks)


def manifest_name(shard: Shard) -> str:
    """What a shard's manifest is called; that of a run of all cases as ever."""
    return f"manifest{shard.suffix}.json"


def mask_file(request: PredictRequest, model: Model, case: str) -> Path:
    """Where the label map of a case is written, in the format of the images."""
    return request.out / f"{case}{model.description.file_ending}"


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
