"""F02: a source dataset becomes an nnU-Net raw folder with a case table and an audit."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segduet.core.description import DatasetDescription, SegduetSection
from segduet.core.errors import DataError, RequestError, SegduetError
from segduet.core.files import write_json
from segduet.core.folders import DatasetFolders
from segduet.core.tasks import TaskSpec
from segduet.dataset.convert import raw_ending, source_ending
from segduet.dataset.label_groups import group_names, label_groups
from segduet.dataset.listing import AUDIT_FILE, CASES_FILE, DESCRIPTION_FILE
from segduet.dataset.parallel import map_threaded
from segduet.dataset.source import SourceCase, SourceDataset
from segduet.dataset.staging import staged_folder
from segduet.dataset.transfer import (
    TEST_MASKS,
    TRAINING_IMAGES,
    TRAINING_MASKS,
    CaseAudit,
    images_folder,
    transfer_case,
)

_AUDIT_SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportSummary:
    """What an import did.

    Attributes:
        dataset: full name, `DatasetNNN_Name`.
        num_training: cases with masks in `imagesTr` (training and validation).
        num_unlabelled: such cases without a mask, in `imagesUnlabelled`.
        num_test: cases in `imagesTs`.
        class_counts: task -> class (or finding, `none`; `known` of a regression) -> cases of all
            splits; unknown ones are not counted.
        audits: what was done to each case, in table order.
        value_map: value in the user's masks -> label, where they differ.
    """

    dataset: str
    num_training: int
    num_unlabelled: int
    num_test: int
    class_counts: dict[str, dict[str, int]]
    audits: tuple[CaseAudit, ...]
    value_map: dict[int, int]

    def to_json(self) -> dict[str, Any]:
        """The counts and every change, as written to `import-audit.json`."""
        repairs = {a.case: a.repair for a in self.audits if a.repair and a.repair.is_needed}
        return {
            "schema_version": _AUDIT_SCHEMA_VERSION,
            "dataset": self.dataset,
            "num_training": self.num_training,
            "num_unlabelled": self.num_unlabelled,
            "num_test": self.num_test,
            "class_counts": self.class_counts,
            "images_converted": sum(a.is_converted for a in self.audits),
            "masks": sum(a.repair is not None for a in self.audits),
            "masks_changed": len(repairs),
            "voxels_rounded": sum(r.num_rounded for r in repairs.values()),
            "voxels_remapped": sum(r.num_remapped for r in repairs.values()),
            "max_error": max((r.max_error for r in repairs.values()), default=0.0),
            "value_map": {str(old): new for old, new in self.value_map.items()},
            "changed": [
                {
                    "case": case,
                    "voxels_rounded": repair.num_rounded,
                    "voxels_remapped": repair.num_remapped,
                    "max_error": repair.max_error,
                }
                for case, repair in repairs.items()
            ],
        }


def write_raw(source: SourceDataset, folders: DatasetFolders, workers: int) -> ImportSummary:
    """Writes `imagesTr`, `labelsTr`, `imagesTs`, `dataset.json`, `cases.csv`, `import-audit.json`.

    Images for training without a mask go to `imagesUnlabelled`, where nnU-Net does not look: it
    demands a mask for everything in `imagesTr`, and can so still read the dataset.

    Everything is built beside the target and renamed at the end: a failure leaves nothing. Image
    bytes are copied unchanged where nnU-Net reads the format; masks too, unless they need repair.

    Args:
        source: what an importer found.
        folders: where the dataset goes; must not exist yet.
        workers: cases handled at the same time.

    Raises:
        RequestError: the dataset, or another one of its number, exists already.
        DataError: a problem with the data; the first is told, and how many cases have one.
        StorageError: the files could not be written.
    """
    _refuse_existing(folders)
    ending = _check_source(source)
    with staged_folder(folders.raw) as raw:
        for name in _folders(source.cases):
            (raw / name).mkdir()
        audits = _transfer_all(source, raw=raw, ending=ending, workers=workers)
        summary = _summarize(source, folders.name, audits)
        _description(source, summary.num_training, ending).write(raw / DESCRIPTION_FILE)
        source.table.write(raw / CASES_FILE, source.tasks)
        write_json(raw / AUDIT_FILE, summary.to_json())
    return summary


def _refuse_existing(folders: DatasetFolders) -> None:
    number = folders.name.split("_")[0]
    taken = sorted(p.name for p in folders.raw.parent.glob(f"{number}_*"))
    if taken:
        raise RequestError(
            f"dataset {folders.name}",
            found=f"{taken[0]} in {folders.raw.parent}",
            expected="a dataset number that is not taken",
            remedy="Choose another name or number, or remove the old dataset.",
        )


def _check_source(source: SourceDataset) -> str:
    """Checks what needs no pixels; returns the ending of the raw dataset."""
    _check_training(source)
    for case in source.cases:
        _check_pair(case, may_lack_mask=source.allows_missing_masks)
    files = [p for c in source.cases for p in (*c.images, *([c.mask] if c.mask else []))]
    endings = Counter(source_ending(path) for path in files)
    if len(endings) > 1:
        counts = ", ".join(f"{n} x {ending}" for ending, n in endings.most_common())
        raise DataError(
            source.where,
            found=f"mixed file endings: {counts}",
            expected="one ending for all images and masks, as nnU-Net requires",
            remedy="Convert the files of the rarer ending.",
        )
    return raw_ending(files[0])


def _check_training(source: SourceDataset) -> None:
    """Checks that there is something to train on, and a mask among it if masks may be missing."""
    training = [case for case in source.cases if not case.is_test]
    if not training:
        raise DataError(
            source.where,
            found=f"{len(source.cases)} cases, none for training",
            expected="training cases with masks",
            remedy="Check the path and the split column.",
        )
    if source.allows_missing_masks and all(case.is_unlabelled for case in training):
        raise DataError(
            source.where,
            found=f"{len(training)} cases for training, none with a mask",
            expected="at least one mask, to plan from and to learn the segmentation from",
            remedy="Add masks of a few cases.",
        )


def _check_pair(case: SourceCase, *, may_lack_mask: bool) -> None:
    name = case.record.case
    if not case.images:
        raise DataError(
            f"case {name!r}",
            found=f"a mask without an image ({case.mask})",
            expected="an image for every mask",
            remedy="Add the image or remove the mask.",
        )
    if case.is_unlabelled and not may_lack_mask:
        raise DataError(
            f"case {name!r}",
            found=f"an image without a mask ({case.images[0]})",
            expected="a mask for every training and validation case",
            remedy="Add the mask, set the case's split to test, or (layouts table and nnunet) "
            "pass --allow-missing-masks to learn its class alone.",
        )
    if case.is_unlabelled and not case.record.labels:
        raise DataError(
            f"case {name!r}",
            found="neither a mask nor a class",
            expected="one of them in every training and validation case",
            remedy="Add one of them, or remove the case.",
        )
    if "/" in name or "\\" in name or name.startswith("."):
        raise DataError(
            f"case {name!r}",
            found="an id that cannot be a file name",
            expected="no slash, and no dot at the start",
            remedy="Rename the case.",
        )


def _folders(cases: Iterable[SourceCase]) -> set[str]:
    images = {images_folder(case) for case in cases}
    test_masks = {TEST_MASKS} if any(case.is_test and case.mask for case in cases) else set()
    return {TRAINING_IMAGES, TRAINING_MASKS} | images | test_masks


def _transfer_all(
    source: SourceDataset, *, raw: Path, ending: str, workers: int
) -> tuple[CaseAudit, ...]:
    def attempt(case: SourceCase) -> CaseAudit | DataError:
        try:
            return transfer_case(case, source, raw=raw, ending=ending)
        except DataError as error:
            return error

    results = map_threaded(attempt, source.cases, workers=workers)
    _raise_first([r for r in results if isinstance(r, DataError)])
    return tuple(r for r in results if isinstance(r, CaseAudit))


def _raise_first(errors: Sequence[SegduetError]) -> None:
    if not errors:
        return
    first = errors[0]
    if len(errors) == 1:
        raise first
    raise DataError(
        first.where,
        found=f"{first.found} ({len(errors) - 1} more cases have problems)",
        expected=first.expected,
        remedy=first.remedy,
    ) from first


def _summarize(source: SourceDataset, dataset: str, audits: tuple[CaseAudit, ...]) -> ImportSummary:
    num_test = sum(case.is_test for case in source.cases)
    num_unlabelled = sum(case.is_unlabelled for case in source.cases)
    counts = {task.name: _class_counts(task, source.cases) for task in source.tasks}
    return ImportSummary(
        dataset=dataset,
        num_training=len(source.cases) - num_test - num_unlabelled,
        num_unlabelled=num_unlabelled,
        num_test=num_test,
        class_counts=counts,
        audits=audits,
        value_map={old: new for old, new in source.mask_value_map.items() if old != new},
    )


def _class_counts(task: TaskSpec, cases: Iterable[SourceCase]) -> dict[str, int]:
    labels = (case.record.labels.get(task.name) for case in cases)
    found = Counter(group for label in labels if label for group in label_groups(task, label))
    return {name: found[name] for name in group_names(task)}


def _description(source: SourceDataset, num_training: int, ending: str) -> DatasetDescription:
    return DatasetDescription.model_validate(
        {
            "channel_names": {str(i): name for i, name in enumerate(source.channel_names)},
            "labels": dict(source.labels),
            "numTraining": num_training,
            "file_ending": ending,
            "regions_class_order": list(source.regions_class_order) or None,
            "segduet": SegduetSection(tasks=source.tasks),
        }
    )
