"""F07: what a dataset holds, counted on the files."""

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segduet.core.cases import CaseTable
from segduet.core.description import DatasetDescription
from segduet.core.folders import DatasetFolders
from segduet.core.labels import LabelScheme
from segduet.dataset.label_groups import group_names, label_groups
from segduet.dataset.label_repair import Repair, repair_mask
from segduet.dataset.listing import CASES_FILE, DESCRIPTION_FILE, list_raw_files
from segduet.dataset.parallel import map_threaded
from segduet.io.images import read_image, read_label_map

#: Class name in the counts for cases whose class is not known.
UNKNOWN_CLASS = "unknown"
NO_SPLIT = "none"
_SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Smallest, middle and largest of some numbers; of none, all are None."""

    minimum: float | None
    median: float | None
    maximum: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSummary:
    """How often and how large a label or region is.

    Attributes:
        num_cases: masks that contain it.
        total_voxels: its voxels over all masks.
        volume_ml: over the masks that contain it (for pictures: pixels / 1000).
    """

    num_cases: int
    total_voxels: int
    volume_ml: Range


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSummary:
    """What a dataset holds.

    Attributes:
        dataset: full name.
        num_images: cases with an image on disk, test cases included.
        num_masks: masks on disk, of test cases included.
        num_unlabelled: cases for training or validation without a mask on purpose (B03).
        cases_per_split: split -> cases (`none` where no split was declared).
        cases_per_class: task -> class or finding (and `none`, `unknown`; of a regression `known`)
            -> split -> cases.
        spacing_zyx_mm: one range per axis.
        shape_zyx: one range per axis.
        labels: label or region -> how often and how large.
        num_empty_masks: masks without foreground.
        num_inexact_masks: masks with values that are integers but for a rounding error.
    """

    dataset: str
    num_images: int
    num_masks: int
    num_unlabelled: int
    cases_per_split: dict[str, int]
    cases_per_class: dict[str, dict[str, dict[str, int]]]
    spacing_zyx_mm: tuple[Range, ...]
    shape_zyx: tuple[Range, ...]
    labels: dict[str, LabelSummary]
    num_empty_masks: int
    num_inexact_masks: int

    def to_json(self) -> dict[str, Any]:
        """Plain types, with a schema version."""
        return {"schema_version": _SCHEMA_VERSION, **asdict(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class _MaskContent:
    voxels: dict[str, int]
    voxel_volume_ml: float
    repair: Repair


def summarize_dataset(folders: DatasetFolders, *, workers: int = 1) -> DatasetSummary:
    """Counts cases, measures grids and label volumes of a raw dataset.

    Args:
        folders: the dataset.
        workers: files read at the same time.

    Raises:
        DataError: a file cannot be read or a mask has undeclared values; `check_dataset` tells all
            such problems at once.
    """
    description = DatasetDescription.read(folders.raw / DESCRIPTION_FILE)
    table = CaseTable.read(folders.raw / CASES_FILE, description.tasks)
    files = list_raw_files(folders, description.file_ending)
    scheme = description.label_scheme
    grids = map_threaded(
        lambda paths: read_image(paths).geometry, files.images.values(), workers=workers
    )
    masks = map_threaded(
        lambda path: _mask_content(path, scheme), files.masks.values(), workers=workers
    )
    return DatasetSummary(
        dataset=folders.name,
        num_images=len(files.images),
        num_masks=len(files.masks),
        num_unlabelled=len(files.unlabelled),
        cases_per_split=dict(Counter(r.split or NO_SPLIT for r in table)),
        cases_per_class=_cases_per_class(table, description),
        spacing_zyx_mm=_axis_ranges([g.spacing_zyx_mm for g in grids]),
        shape_zyx=_axis_ranges([g.shape_zyx for g in grids]),
        labels={name: _label_summary(name, masks) for name in scheme.foreground},
        num_empty_masks=sum(not any(m.voxels.values()) for m in masks),
        num_inexact_masks=sum(m.repair.num_rounded > 0 for m in masks),
    )


def _mask_content(path: Path, scheme: LabelScheme) -> _MaskContent:
    mask = read_label_map(path)
    declared = {value: value for value in scheme.values}
    repaired = repair_mask(mask.array[0], declared, case=path.name)
    counts = np.bincount(repaired.label_map.ravel(), minlength=max(declared) + 1)
    return _MaskContent(
        voxels={name: int(counts[list(m)].sum()) for name, m in scheme.foreground.items()},
        voxel_volume_ml=mask.geometry.voxel_volume_ml,
        repair=repaired.repair,
    )


def _label_summary(name: str, masks: list[_MaskContent]) -> LabelSummary:
    present = [m for m in masks if m.voxels[name]]
    return LabelSummary(
        num_cases=len(present),
        total_voxels=sum(m.voxels[name] for m in present),
        volume_ml=_range([m.voxels[name] * m.voxel_volume_ml for m in present]),
    )


def _cases_per_class(
    table: CaseTable, description: DatasetDescription
) -> dict[str, dict[str, dict[str, int]]]:
    counts: dict[str, dict[str, dict[str, int]]] = {}
    for task in description.tasks:
        by_class: dict[str, Counter[str]] = {name: Counter() for name in group_names(task)}
        for record in table:
            label = record.labels.get(task.name)
            for name in label_groups(task, label) if label else (UNKNOWN_CLASS,):
                by_class.setdefault(name, Counter())[record.split or NO_SPLIT] += 1
        counts[task.name] = {name: dict(splits) for name, splits in by_class.items()}
    return counts


def _axis_ranges(
    triples: list[tuple[int, int, int]] | list[tuple[float, float, float]],
) -> tuple[Range, ...]:
    return tuple(_range([float(t[axis]) for t in triples]) for axis in range(3))


def _range(values: list[float]) -> Range:
    if not values:
        return Range(minimum=None, median=None, maximum=None)
    return Range(minimum=min(values), median=float(np.median(values)), maximum=max(values))
