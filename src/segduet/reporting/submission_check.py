"""Checks a quiz archive and names each fault; reads entries by name, never extracts paths."""

import csv
import io
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError

from segduet.core.errors import DataError
from segduet.core.geometry import Geometry
from segduet.io.images import read_image, read_label_map

CSV_NAME = "subtype_results.csv"
CSV_HEADER = ("Names", "Subtype")
MASK_ENDING = ".nii.gz"
#: Of an image's first channel; a mask that is called like one is misnamed.
IMAGE_ENDING = f"_0000{MASK_ENDING}"
LABELS = (0, 1, 2)
SUBTYPES = ("0", "1", "2")
#: A mask of a whole CT compresses to well under this.
_MAX_ENTRY_BYTES = 256 * 2**20
_MAX_TABLE_BYTES = 2**20
_UNREADABLE = (OSError, EOFError, zlib.error, ImageFileError, HeaderDataError, ValueError)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmissionFault:
    """One thing the quiz would not accept.

    Attributes:
        kind: short name, such as `missing mask` or `wrong geometry`.
        where: entry or line of the archive.
        message: what was found and what was expected.
    """

    kind: str
    where: str
    message: str


def check_submission(archive: Path, images: Mapping[str, Path]) -> list[SubmissionFault]:
    """All faults of a submission; empty if it is right.

    Args:
        archive: the zip file; it may come from anywhere.
        images: case -> source image; the archive must hold exactly these cases.

    Raises:
        DataError: the file is missing or not a zip archive, or a source image is unreadable.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            return list(_faults(opened, images))
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(
            str(archive),
            found=f"no readable zip archive ({error})",
            expected="a submission as `segduet package quiz` writes it",
            remedy="Check the path, or package the predictions again.",
        ) from error


def _faults(archive: zipfile.ZipFile, images: Mapping[str, Path]) -> Iterator[SubmissionFault]:
    masks = {f"{case}{MASK_ENDING}": image for case, image in sorted(images.items())}
    names = [entry.filename for entry in archive.infolist()]
    yield from _name_faults(names, set(masks))
    unique = {name for name, count in Counter(names).items() if count == 1}
    for name, image in masks.items():
        if name in unique:
            yield from _mask_faults(archive.getinfo(name), archive, image)
    if CSV_NAME in unique:
        yield from _table_faults(archive.getinfo(CSV_NAME), archive, list(masks))


def _name_faults(names: Sequence[str], masks: set[str]) -> Iterator[SubmissionFault]:
    for name, count in Counter(names).items():
        if "/" in name or "\\" in name:
            yield _fault("nested path", name, "a folder in the name; the archive must be flat")
        elif name not in masks | {CSV_NAME}:
            yield _fault("extra file", name, _why_extra(name, masks))
        if count > 1:
            yield _fault("duplicate entry", name, f"{count} entries of this name")
    for name in sorted(masks - set(names)):
        yield _fault("missing mask", name, "not in the archive")
    if CSV_NAME not in names:
        yield _fault("missing table", CSV_NAME, "not in the archive")


def _why_extra(name: str, masks: set[str]) -> str:
    """That it is nothing of ours or, where one can tell, the name it should have had."""
    wanted = {mask.lower(): mask for mask in (*masks, CSV_NAME)}
    meant = wanted.get(name.lower().replace(IMAGE_ENDING, MASK_ENDING))
    if meant is None:
        return "no mask of a test case and not the table"
    return f"the exact name is {meant}"


def _mask_faults(
    entry: zipfile.ZipInfo, archive: zipfile.ZipFile, image: Path
) -> Iterator[SubmissionFault]:
    content = _content(archive, entry, _MAX_ENTRY_BYTES)
    if isinstance(content, SubmissionFault):
        yield content
        return
    source = read_image([image]).geometry
    with tempfile.TemporaryDirectory() as folder:
        # our own name, not the archive's: an entry cannot choose where it is written
        copy = Path(folder) / f"mask{MASK_ENDING}"
        copy.write_bytes(content)
        try:
            yield from _header_faults(entry.filename, copy, source)
        except _UNREADABLE as error:
            yield _fault("unreadable mask", entry.filename, str(error))


def _header_faults(name: str, copy: Path, source: Geometry) -> Iterator[SubmissionFault]:
    image = nibabel.load(copy)
    header = image.header
    stored = np.dtype(header.get_data_dtype())
    if stored.kind not in "iu":
        yield _fault("wrong dtype", name, f"stored as {stored}; expected an integer type")
    # nibabel clears the scaling in the header it hands out, but keeps it where it reads the voxels
    if (image.dataobj.slope, image.dataobj.inter) != (1.0, 0.0):
        yield _fault("wrong dtype", name, "the header scales the values; expected no scaling")
    # compared before the voxels are read: a header may promise any amount of memory
    if tuple(reversed(header.get_data_shape())) != source.shape_zyx:
        shape = tuple(header.get_data_shape())
        yield _fault("wrong geometry", name, f"shape xyz {shape}, image zyx {source.shape_zyx}")
        return
    try:
        mask = read_label_map(copy)
    except DataError as error:
        yield _fault("unreadable mask", name, error.found)
        return
    differing = mask.geometry.differences(source)
    if differing:
        yield _fault("wrong geometry", name, f"{', '.join(differing)} differ from the source image")
    unknown = sorted(set(np.unique(mask.array).tolist()) - set(LABELS))
    if unknown:
        yield _fault("wrong labels", name, f"values {unknown[:5]}; expected {list(LABELS)}")


def _table_faults(
    entry: zipfile.ZipInfo, archive: zipfile.ZipFile, masks: Sequence[str]
) -> Iterator[SubmissionFault]:
    content = _content(archive, entry, _MAX_TABLE_BYTES)
    if isinstance(content, SubmissionFault):
        yield content
        return
    try:
        rows = list(csv.reader(io.StringIO(content.decode("utf-8"))))
    except (UnicodeDecodeError, csv.Error) as error:
        yield _fault("unreadable table", CSV_NAME, str(error))
        return
    if not rows or tuple(rows[0]) != CSV_HEADER:
        found = rows[0] if rows else "nothing"
        yield _fault("wrong header", CSV_NAME, f"{found}; expected {','.join(CSV_HEADER)}")
        return
    yield from _row_faults(rows[1:], masks)


def _row_faults(rows: Sequence[Sequence[str]], masks: Sequence[str]) -> Iterator[SubmissionFault]:
    names = []
    for number, row in enumerate(rows, start=2):
        where = f"{CSV_NAME}, line {number}"
        if len(row) != len(CSV_HEADER):
            yield _fault("wrong row", where, f"{len(row)} values; expected {len(CSV_HEADER)}")
            continue
        names.append(row[0])
        if row[0] not in masks:
            yield _fault("unknown name", where, f"{row[0]!r}; expected the name of a mask")
        if row[1] not in SUBTYPES:
            yield _fault("wrong subtype", where, f"{row[1]!r}; expected one of {list(SUBTYPES)}")
    yield from _name_list_faults(names, masks)


def _name_list_faults(names: Sequence[str], masks: Sequence[str]) -> Iterator[SubmissionFault]:
    for name, count in Counter(names).items():
        if count > 1:
            yield _fault("duplicate row", CSV_NAME, f"{name!r} {count} times")
    for name in sorted(set(masks) - set(names)):
        yield _fault("missing row", CSV_NAME, f"no line for {name!r}")
    if names != sorted(names):
        yield _fault("wrong order", CSV_NAME, "names are not in ascending order")


def _content(
    archive: zipfile.ZipFile, entry: zipfile.ZipInfo, limit: int
) -> bytes | SubmissionFault:
    """The bytes of an entry, or why they cannot be had; never more than `limit` are unpacked."""
    if entry.flag_bits & 0x1:
        return _fault("unreadable entry", entry.filename, "encrypted")
    try:
        with archive.open(entry) as stream:
            content = stream.read(limit + 1)
    except (zipfile.BadZipFile, NotImplementedError, EOFError, zlib.error) as error:
        return _fault("unreadable entry", entry.filename, str(error))
    if len(content) > limit:
        return _fault("unreadable entry", entry.filename, f"more than {limit} bytes")
    return content


def _fault(kind: str, where: str, message: str) -> SubmissionFault:
    return SubmissionFault(kind=kind, where=where, message=message)
