"""An existing nnU-Net raw dataset, copied into a new one with a table of classes."""

from dataclasses import replace
from pathlib import Path

from segduet.core.cases import CaseRecord
from segduet.core.description import DatasetDescription
from segduet.core.errors import DataError
from segduet.core.folders import DatasetFolders
from segduet.dataset.importers.class_table import (
    ClassTable,
    read_class_table,
    require_labels_table,
)
from segduet.dataset.importers.options import ImportOptions
from segduet.dataset.listing import DESCRIPTION_FILE, RawFiles, list_raw_files
from segduet.dataset.source import SourceCase, SourceDataset


def read_nnunet(root: Path, options: ImportOptions) -> SourceDataset:
    """Finds the cases of an nnU-Net raw dataset; labels, regions and channels are kept.

    Args:
        root: the `DatasetNNN_Name` folder.
        options: `labels_table` (needed), `class_column`, `classes`, `tasks`,
            `allow_missing_masks`.

    Raises:
        RequestError: no class table, or an option that has no effect here.
        DataError: an unusable dataset.json or table, stray files, a training image without a row,
            or a row without an image.
    """
    options.require_only(
        "nnunet", "labels_table", "class_column", "classes", "tasks", "allow_missing_masks"
    )
    table = read_class_table(require_labels_table(options, "nnunet"), options)
    description = DatasetDescription.read(root / DESCRIPTION_FILE)
    _refuse_listed_files(root, description)
    folders = DatasetFolders(name=root.name, raw=root, preprocessed=root, results=root)
    files = list_raw_files(folders, description.file_ending)
    _refuse_odd_files(files)
    cases = _cases(files, table)
    _refuse_rows_without_image(table, files)
    channels = sorted(description.channel_names.items(), key=lambda entry: int(entry[0]))
    return SourceDataset(
        where=str(root),
        cases=tuple(cases),
        tasks=table.tasks,
        channel_names=tuple(name for _, name in channels),
        labels=description.labels,
        regions_class_order=tuple(description.regions_class_order or ()),
        allows_missing_masks=options.allow_missing_masks,
    )


def _refuse_listed_files(root: Path, description: DatasetDescription) -> None:
    if "dataset" in (description.model_extra or {}):
        raise DataError(
            f"{root / DESCRIPTION_FILE}, dataset",
            found="a list of files that lie elsewhere",
            expected="images in imagesTr and masks in labelsTr",
            remedy="Copy or link the files there and remove the entry.",
        )


def _refuse_odd_files(files: RawFiles) -> None:
    if files.repeated:
        raise DataError(
            f"case {files.repeated[0]!r}",
            found="it in the training and in the test folder",
            expected="every case in one of them",
            remedy="Remove one of the two.",
        )
    if files.strays:
        raise DataError(
            str(files.strays[0]),
            found=f"{len(files.strays)} file(s) whose name does not fit",
            expected="<case>_0000<ending> for images, <case><ending> for masks",
            remedy="Rename or remove them.",
        )


def _cases(files: RawFiles, table: ClassTable) -> list[SourceCase]:
    records = table.by_case()
    cases = []
    for name in sorted({*files.images, *files.masks}):
        is_test = name in files.test_cases
        if name not in records and not is_test:
            raise DataError(
                f"{table.where}, case {name!r}",
                found="a training case without a row",
                expected="a row for every training case",
                remedy="Add the row; leave the class empty where it is unknown.",
            )
        record = records.get(name, CaseRecord(case=name, patient=name))
        if is_test:
            record = replace(record, split="test")
        cases.append(
            SourceCase(record=record, images=files.images.get(name, ()), mask=files.masks.get(name))
        )
    return cases


def _refuse_rows_without_image(table: ClassTable, files: RawFiles) -> None:
    rest = [record.case for record in table.records if record.case not in files.images]
    if rest:
        raise DataError(
            f"{table.where}, case {rest[0]!r}",
            found=f"{len(rest)} row(s) without an image",
            expected="rows of cases the dataset has",
            remedy="Correct the id, or remove the row.",
        )
