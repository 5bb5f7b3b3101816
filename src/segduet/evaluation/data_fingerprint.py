"""What the references are like, as far as it decides which metrics say something.

Masks of one slice are measured in their plane, as the metrics measure them.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segduet.core.cases import CaseRecord
from segduet.core.errors import DataError
from segduet.core.tasks import TaskKind, TaskSpec
from segduet.evaluation.evaluate import References
from segduet.evaluation.mask_fingerprint import MaskFingerprint, RegionFingerprint, mask_fingerprint
from segduet.io.images import read_label_map


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFingerprint:
    """What is known about one task.

    Attributes:
        kind: of the task.
        num_cases: cases whose answer is known.
        counts: class or finding -> cases that have it; empty for a regression.
        remoteness: of a regression: distance of the remotest value from the median, in
            interquartile ranges; None for other kinds, and where half of the values are the same.
    """

    kind: TaskKind
    num_cases: int
    counts: dict[str, int]
    remoteness: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetFingerprint:
    """What a dataset, or the part of it that was scored, is like.

    Attributes:
        num_cases: with a mask or any known answer.
        num_patients: whose they are.
        num_without_unit: masks whose distances are pixels.
        spacing_ratio: largest by smallest distance between voxels, median over the masks that have
            more than one slice; None without any.
        regions: every scored region; empty without masks.
        tasks: every task with a known answer.
    """

    num_cases: int
    num_patients: int
    num_without_unit: int
    spacing_ratio: float | None
    regions: dict[str, RegionFingerprint]
    tasks: dict[str, TaskFingerprint]

    def to_json(self) -> dict[str, Any]:
        """Plain types."""
        return asdict(self)


def dataset_fingerprint(
    references: References, cases: Sequence[str] | None = None, *, workers: int = 1
) -> DatasetFingerprint:
    """Measures the reference masks and counts the known answers; reads no image.

    Args:
        references: masks and case table, with the tasks to look at.
        cases: look at these; None takes every case with a mask or a known answer.
        workers: masks read at the same time.

    Raises:
        DataError: no case is known, a mask cannot be read or has an undeclared value, or `cases`
            names one that the table has not.
    """
    table = references.table
    records = list(table) if cases is None else [table.record(case) for case in cases]
    known = [record for record in records if references.is_known(record)]
    if not known:
        raise DataError(
            table.where,
            found="no case with a reference mask or a known answer",
            expected="at least one",
            remedy="Check the dataset with `segduet check`.",
        )
    paths = [path for path in (references.mask(r.case) for r in known) if path is not None]
    with ThreadPoolExecutor(max_workers=max(1, workers)) as pool:
        masks = list(pool.map(lambda path: _measure(path, references), paths))
    return DatasetFingerprint(
        num_cases=len(known),
        num_patients=len({record.patient for record in known}),
        num_without_unit=sum(not mask.has_unit for mask in masks),
        spacing_ratio=_median([m.spacing_ratio for m in masks if m.spacing_ratio is not None]),
        regions=_regions(masks),
        tasks=_tasks(references, known),
    )


def _measure(path: Path, references: References) -> MaskFingerprint:
    volume = read_label_map(path)
    values = references.labels.values
    is_declared = np.isin(volume.array, values)
    if not is_declared.all():
        raise DataError(
            str(path),
            found=f"label values {np.unique(volume.array[~is_declared])[:5].tolist()}",
            expected=f"only {list(values)}, as dataset.json declares",
            remedy="Remap the mask, or declare the label; `segduet check` names all such masks.",
        )
    return mask_fingerprint(volume, references.labels)


def _regions(masks: Sequence[MaskFingerprint]) -> dict[str, RegionFingerprint]:
    if not masks:
        return {}
    return {
        name: RegionFingerprint.of([mask.regions[name] for mask in masks])
        for name in masks[0].regions
    }


def _tasks(references: References, known: Sequence[CaseRecord]) -> dict[str, TaskFingerprint]:
    found = {}
    for task in references.tasks:
        cases = [record.case for record in known if record.labels.get(task.name)]
        if cases:
            found[task.name] = _task(task, references, cases)
    return found


def _task(task: TaskSpec, references: References, cases: Sequence[str]) -> TaskFingerprint:
    counts: dict[str, int] = {}
    remoteness = None
    if task.kind == "regression":
        remoteness = _remoteness(references.table.targets(task, cases)[:, 0].astype(np.float64))
    else:
        found = references.table.class_counts(task, cases)
        counts = dict(zip(task.classes, found, strict=True))
    return TaskFingerprint(
        kind=task.kind, num_cases=len(cases), counts=counts, remoteness=remoteness
    )


def _remoteness(values: np.ndarray) -> float | None:
    low, middle, high = np.percentile(values, (25, 50, 75))
    return float(np.abs(values - middle).max() / (high - low)) if high > low else None


def _median(values: Sequence[float]) -> float | None:
    return float(np.median(values)) if values else None
