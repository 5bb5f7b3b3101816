"""A task of the Medical Segmentation Decathlon, with a table of classes.

`dataset.json` lists `training` pairs and `test` images; its `labels` map value to name, and its
`modality` entry names the channels, which lie along the fourth axis of one file.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from segduet.core.cases import CaseRecord
from segduet.core.description import validated
from segduet.core.errors import DataError
from segduet.core.files import read_json
from segduet.core.labels import BACKGROUND
from segduet.dataset.importers.class_table import (
    ClassTable,
    read_class_table,
    require_labels_table,
)
from segduet.dataset.importers.labels import label_entries
from segduet.dataset.importers.options import ImportOptions, RegionMode
from segduet.dataset.listing import DESCRIPTION_FILE
from segduet.dataset.source import SourceCase, SourceDataset
from segduet.io.names import name_without_ending


class _Pair(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    image: str
    label: str


class _Description(BaseModel):
    """The entries of a Decathlon dataset.json that matter here."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    modality: dict[str, str]
    labels: dict[int, str]
    training: tuple[_Pair, ...]
    test: tuple[str, ...] = ()


def read_msd(root: Path, options: ImportOptions) -> SourceDataset:
    """Finds the cases of a Decathlon task.

    Args:
        root: the task's folder, with `dataset.json`.
        options: `labels_table` (needed), `class_column`, `classes`, `tasks`, `channel_names`,
            `region_mode`.

    Raises:
        RequestError: no class table, or an option that has no effect here.
        DataError: an unusable dataset.json or table, a listed file that is missing, a training
            image without a row, or a row without an image.
    """
    options.require_only(
        "msd",
        *("labels_table", "class_column", "classes", "tasks"),
        *("channel_names", "region_mode"),
    )
    table = read_class_table(require_labels_table(options, "msd"), options)
    source = root / DESCRIPTION_FILE
    description = validated(_Description, _without_odd_tests(read_json(source)), where=str(source))
    cases = (*_training_cases(root, description, table), *_test_cases(root, description, table))
    _refuse_rows_without_image(table, cases)
    mode = options.region_mode or RegionMode.PLAIN
    labels, order = label_entries(_foreground_names(source, description), mode)
    return SourceDataset(
        where=str(root),
        cases=cases,
        tasks=table.tasks,
        channel_names=options.channel_names or _channels(description),
        labels=labels,
        regions_class_order=order,
    )


def _without_odd_tests(content: Any) -> Any:
    """Some tasks list test images as one-element lists."""
    if not isinstance(content, dict) or not isinstance(content.get("test"), list):
        return content
    tests = [t[0] if isinstance(t, list) and len(t) == 1 else t for t in content["test"]]
    return {**content, "test": tests}


def _channels(description: _Description) -> tuple[str, ...]:
    return tuple(name for _, name in sorted(description.modality.items(), key=lambda m: int(m[0])))


def _foreground_names(source: Path, description: _Description) -> list[str]:
    values = sorted(description.labels)
    if values != list(range(len(values))) or len(values) < 2:
        raise DataError(
            f"{source}, labels",
            found=f"the values {values}",
            expected="0 (background), 1, 2, ... without a gap",
            remedy="Correct dataset.json.",
        )
    names = [description.labels[v] for v in values[1:]]
    if len({*names, BACKGROUND}) != len(names) + 1:
        raise DataError(
            f"{source}, labels",
            found=f"the names {names}",
            expected=f"names that differ, none of them {BACKGROUND!r}",
            remedy="Rename the labels in dataset.json.",
        )
    return names


def _training_cases(
    root: Path, description: _Description, table: ClassTable
) -> Iterator[SourceCase]:
    records = table.by_case()
    for pair in description.training:
        image, mask = _listed_file(root, pair.image), _listed_file(root, pair.label)
        case = name_without_ending(image)
        if case not in records:
            raise DataError(
                f"{table.where}, case {case!r}",
                found="a training image without a row",
                expected="a row for every training image",
                remedy="Add the row; leave the class empty where it is unknown.",
            )
        yield SourceCase(record=records[case], images=(image,), mask=mask)


def _test_cases(root: Path, description: _Description, table: ClassTable) -> Iterator[SourceCase]:
    records = table.by_case()
    for entry in description.test:
        image = _listed_file(root, entry)
        case = name_without_ending(image)
        known = records.get(case, CaseRecord(case=case, patient=case))
        record = replace(known, split="test")
        yield SourceCase(record=record, images=(image,), mask=None)


def _listed_file(root: Path, entry: str) -> Path:
    path = root / entry
    if not path.is_file():
        raise DataError(
            str(root / DESCRIPTION_FILE),
            found=f"{entry!r}, which is not there",
            expected="only files that exist",
            remedy="Extract the archive again, or remove the entry.",
        )
    return path


def _refuse_rows_without_image(table: ClassTable, cases: tuple[SourceCase, ...]) -> None:
    known = {case.record.case for case in cases}
    rest = [record.case for record in table.records if record.case not in known]
    if rest:
        raise DataError(
            f"{table.where}, case {rest[0]!r}",
            found=f"{len(rest)} row(s) without an image",
            expected="rows of cases that dataset.json lists",
            remedy="Correct the id, or remove the row.",
        )
