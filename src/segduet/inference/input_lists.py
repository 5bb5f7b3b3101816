"""Cohorts that a file names: a list of images, or a table of cases."""

from collections.abc import Mapping
from pathlib import Path

from segduet.core.errors import DataError
from segduet.core.files import read_csv
from segduet.inference.case_input import CaseInput


def listed_files(source: Path, file_ending: str) -> list[Path]:
    """Images of a list, one path per line, relative to the list; blank lines are passed over.

    Raises:
        DataError: it cannot be read, names nothing, or names a file with another ending.
    """
    try:
        lines = source.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            str(source), found=str(error), expected="UTF-8 text", remedy="Check the list."
        ) from error
    files = [source.parent / line.strip() for line in lines if line.strip()]
    other = [path for path in files if not path.name.endswith(file_ending)]
    if other or not files:
        raise DataError(
            str(source),
            found=f"{other[0]}" if other else "no line",
            expected=f"a path of an image ending in {file_ending} on every line",
            remedy="Correct the list.",
        )
    return files


def tabled_cases(source: Path, *, num_channels: int) -> list[CaseInput]:
    """Cases of a table with the columns `case` and `image`, or `image_0000`, `image_0001`, ...

    Further columns are passed over, so cases.csv serves once it has a column of images. Paths are
    relative to the table.

    Raises:
        DataError: it cannot be read, lacks a column or a cell, or has no line.
    """
    columns, lines = read_csv(source)
    channels = [f"image_{channel:04d}" for channel in range(num_channels)]
    wanted = ["image"] if "image" in columns else channels
    missing = [name for name in ("case", *wanted) if name not in columns]
    if missing or not lines:
        raise DataError(
            str(source),
            found=f"no column {missing[0]!r}" if missing else "no line below the header",
            expected=f"columns case and image, or case, {', '.join(channels)}",
            remedy="Name the columns so, one line per case.",
        )
    return [_case(cells, wanted, source, number) for number, cells in enumerate(lines, start=2)]


def _case(cells: Mapping[str, str], wanted: list[str], source: Path, number: int) -> CaseInput:
    empty = [name for name in ("case", *wanted) if not cells[name]]
    if empty or "/" in cells["case"]:
        raise DataError(
            f"{source}, line {number}",
            found=f"an empty {empty[0]!r}" if empty else f"case {cells['case']!r}",
            expected="a case id that can be a file's name, and a path per channel",
            remedy="Correct the line.",
        )
    return CaseInput(
        case=cells["case"], image_paths=tuple(source.parent / cells[name] for name in wanted)
    )
