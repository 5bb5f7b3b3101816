"""The quiz's submission archive: flat zip of masks and `subtype_results.csv` (F79).

Format: masks `quiz_037.nii.gz` without folders, and one table whose header is exactly
`Names,Subtype`, names with `.nii.gz`, subtypes 0, 1 or 2.
"""

import csv
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

from segduet.core.errors import DataError
from segduet.core.files import atomic_path
from segduet.io.images import case_and_channel
from segduet.reporting.submission_check import CSV_HEADER, CSV_NAME, MASK_ENDING, check_submission

# one fixed time for all entries, so that the same answers give the same bytes
_ENTRY_TIME = (1980, 1, 1, 0, 0, 0)


def source_images(folder: Path) -> dict[str, Path]:
    """Case -> image of the first channel of every `<case>_0000.nii.gz` in a folder.

    Raises:
        DataError: the folder has no such image, or another name ending in `.nii.gz`.
    """
    found = {}
    for path in sorted(Path(folder).glob(f"*{MASK_ENDING}")):
        case, channel = case_and_channel(path)
        if channel == 0:
            found[case] = path
    if not found:
        raise DataError(
            str(folder),
            found=f"no image *_0000{MASK_ENDING}",
            expected="the test images the masks belong to",
            remedy="Name the folder with the quiz's test images.",
        )
    return found


def write_submission(
    target: Path, masks: Path, subtypes: Mapping[str, int], images: Mapping[str, Path]
) -> None:
    """Writes the archive, checked before it gets its name; the same input gives the same bytes.

    Args:
        target: the zip file to write.
        masks: folder with `<case>.nii.gz` for every case.
        subtypes: case -> predicted subtype.
        images: case -> source image, see `source_images`; exactly these cases are submitted.

    Raises:
        DataError: a mask or subtype is missing, or the archive would not pass `check_submission`.
    """
    cases = sorted(images)
    for case in cases:
        if case not in subtypes or not (Path(masks) / f"{case}{MASK_ENDING}").is_file():
            raise DataError(
                f"case {case!r}",
                found="no predicted subtype" if case not in subtypes else "no predicted mask",
                expected="both answers for every test case",
                remedy="Predict the case again; nothing is filled in by default.",
            )
    with atomic_path(target) as temporary:
        with zipfile.ZipFile(temporary, "w") as archive:
            for case in cases:
                name = f"{case}{MASK_ENDING}"
                _add(archive, name, (Path(masks) / name).read_bytes())
            table = _table({case: subtypes[case] for case in cases})
            _add(archive, CSV_NAME, table.encode("ascii"))
        _require_faultless(temporary, target, images)


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(name, date_time=_ENTRY_TIME)
    entry.external_attr = 0o644 << 16
    # masks are compressed already
    method = zipfile.ZIP_STORED if name.endswith(".gz") else zipfile.ZIP_DEFLATED
    archive.writestr(entry, content, compress_type=method)


def _table(subtypes: Mapping[str, int]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(CSV_HEADER)
    writer.writerows((f"{case}{MASK_ENDING}", subtype) for case, subtype in subtypes.items())
    return stream.getvalue()


def _require_faultless(written: Path, target: Path, images: Mapping[str, Path]) -> None:
    faults = check_submission(written, images)
    if faults:
        raise DataError(
            str(target),
            found=f"{len(faults)} faults, first: {faults[0].where}: {faults[0].message}",
            expected="an archive that the quiz accepts",
            remedy="Correct the predictions; nothing was written.",
        )
