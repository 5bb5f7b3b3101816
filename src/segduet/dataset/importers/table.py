"""A folder with `images/`, `masks/` (same file names) and `cases.csv`."""

from pathlib import Path

from segduet.core.cases import CaseRecord
from segduet.core.errors import DataError
from segduet.dataset.importers.channels import names_of_channels
from segduet.dataset.importers.class_table import ClassTable, read_class_table
from segduet.dataset.importers.labels import find_value_map, label_entries, names_of_labels
from segduet.dataset.importers.options import ImportOptions, RegionMode
from segduet.dataset.listing import CASES_FILE, by_name, visible_files
from segduet.dataset.source import SourceCase, SourceDataset
from segduet.io.names import image_name


def read_table(root: Path, options: ImportOptions) -> SourceDataset:
    """Finds the cases of a folder with images, masks and a table.

    The image of a case is `images/<case><ending>`, or `images/<case>_0000<ending>` and so on for
    several channels; its mask is `masks/<case><ending>`.

    Args:
        root: folder with `images`, `masks` and `cases.csv` (or the table of `labels_table`).
        options: all of them count; region_mode is plain by default.

    Raises:
        RequestError: options that contradict one another.
        DataError: no images, a row without an image, an image or mask without a row, an unusable
            table, or label values that leave open what is meant.
    """
    table = read_class_table(options.labels_table or root / CASES_FILE, options)
    images, masks = (_image_files(root / folder) for folder in ("images", "masks"))
    cases = [_case(record, images, masks, table) for record in table.records]
    _refuse_unclaimed(root, images, masks, cases)
    value_map = find_value_map([c.mask for c in cases if c.mask], options)
    names = names_of_labels(len(value_map) - 1, options)
    labels, order = label_entries(names, options.region_mode or RegionMode.PLAIN)
    return SourceDataset(
        where=str(root),
        cases=tuple(cases),
        tasks=table.tasks,
        channel_names=names_of_channels(cases[0].images, options),
        labels=labels,
        regions_class_order=order,
        value_map=value_map,
        allows_missing_masks=options.allow_missing_masks,
    )


def _image_files(folder: Path) -> dict[str, Path]:
    # a .json beside a TIFF volume holds its spacing
    return by_name(path for path in visible_files(folder) if path.suffix != ".json")


def _case(
    record: CaseRecord, images: dict[str, Path], masks: dict[str, Path], table: ClassTable
) -> SourceCase:
    found = _images_of(record.case, images)
    if not found:
        raise DataError(
            f"{table.where}, case {record.case!r}",
            found="a row without an image",
            expected=f"images/{record.case}<ending>, or images/{record.case}_0000<ending>",
            remedy="Add the image or remove the row.",
        )
    return SourceCase(record=record, images=found, mask=masks.get(record.case))


def _images_of(case: str, images: dict[str, Path]) -> tuple[Path, ...]:
    if case in images:
        return (images[case],)
    channels: list[Path] = []
    while (name := image_name(case, len(channels), "")) in images:
        channels.append(images[name])
    return tuple(channels)


def _refuse_unclaimed(
    root: Path, images: dict[str, Path], masks: dict[str, Path], cases: list[SourceCase]
) -> None:
    claimed = {path for case in cases for path in (*case.images, case.mask)}
    for kind, files in (("image", images), ("mask", masks)):
        rest = [path for path in files.values() if path not in claimed]
        if rest:
            raise DataError(
                str(rest[0]),
                found=f"{len(rest)} {kind}(s) without a row in the table",
                expected=f"a row for every {kind} in {root}",
                remedy="Add the row (leave the class empty where it is unknown), or remove it.",
            )
