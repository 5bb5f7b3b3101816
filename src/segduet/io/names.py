"""File names: endings, case ids and channel numbers, in nnU-Net's convention."""

import re
from pathlib import Path

from segduet.core.errors import DataError

SUPPORTED_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha", ".png", ".bmp", ".tif", ".tiff")
_CASE_AND_CHANNEL = re.compile(r"(.+)_(\d{4})")


def file_ending(path: Path) -> str:
    """The ending of an image file, in lower case, such as `.nii.gz`.

    Raises:
        DataError: it is none of `SUPPORTED_ENDINGS`.
    """
    name = Path(path).name.lower()
    for ending in SUPPORTED_ENDINGS:
        if name.endswith(ending) and name != ending:
            return ending
    raise DataError(
        str(path),
        found=f"the ending {Path(path).suffix or 'none'!r}",
        expected=f"one of {', '.join(SUPPORTED_ENDINGS)}",
        remedy="Convert the file without loss (JPEG would blur masks), or leave it out.",
    )


def name_without_ending(path: Path) -> str:
    """The file name without folder and ending; dots inside the name are kept.

    Raises:
        DataError: the ending is not supported.
    """
    return Path(path).name[: -len(file_ending(path))]


def case_and_channel(path: Path) -> tuple[str, int]:
    """Splits `<case>_<4 digits><ending>` into case id and channel number.

    Raises:
        DataError: the ending is not supported or the channel number is missing.
    """
    match = _CASE_AND_CHANNEL.fullmatch(name_without_ending(path))
    if match is None:
        raise DataError(
            str(path),
            found="an image name without a channel number",
            expected="<case>_0000<ending>, the four digits counting channels from 0",
            remedy="Rename the file.",
        )
    return match[1], int(match[2])


def image_name(case: str, channel: int, ending: str) -> str:
    """`<case>_<4 digits><ending>`, the name nnU-Net expects of one channel."""
    return f"{case}_{channel:04d}{ending}"
