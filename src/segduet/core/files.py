"""Files that are either the old version or the whole new one, never half of it."""

import contextlib
import csv
import hashlib
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from segduet.core.errors import DataError, StorageError

_PREFIX = ".partial-"
#: Digits of a temporary name that stand for the name of the file it is to become.
_NAME_DIGITS = 16


@contextlib.contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yields a temporary path beside `target`; on success it is synced and renamed over it.

    The temporary name keeps the target's full suffix, so writers that choose a format by suffix
    work. On any error the temporary file is removed and the old target is left as it was.

    Raises:
        StorageError: the disk is full, the folder cannot be written, or the rename failed.
    """
    target = Path(target)
    suffix = "".join(target.suffixes[-2:])
    temporary = target.with_name(f"{_unfinished(target)}-{secrets.token_hex(8)}{suffix}")
    with storage_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch(exist_ok=False)
    try:
        with storage_errors(target):
            yield temporary
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.replace(target)
            _sync_folder(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _unfinished(target: Path) -> str:
    """How the temporary names of a file begin; no longer where its own name is long."""
    name = hashlib.sha256(os.fsencode(target.name)).hexdigest()
    return f"{_PREFIX}{name[:_NAME_DIGITS]}"


def _sync_folder(folder: Path) -> None:
    """Makes a rename in the folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def storage_errors(target: Path) -> Iterator[None]:
    """Says where a write failed and what to do, in place of the system's error."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            str(target),
            found=f"the write failed: {error.strerror or error}",
            expected="a folder with free space that this user may write to",
            remedy="Free some space or choose another output folder; nothing was half-written.",
        ) from error


def remove_unfinished(targets: Iterable[Path]) -> None:
    """Removes what killed processes left half written of files that nobody writes now.

    Args:
        targets: the files; what was to become another one stays.
    """
    beginnings: dict[Path, set[str]] = {}
    for target in map(Path, targets):
        beginnings.setdefault(target.parent, set()).add(_unfinished(target))
    for folder, own in beginnings.items():
        for left_over in folder.glob(f"{_PREFIX}*"):
            if left_over.name[: len(_PREFIX) + _NAME_DIGITS] in own:
                left_over.unlink(missing_ok=True)


def write_text(target: Path, text: str) -> None:
    """Writes UTF-8 text atomically."""
    with atomic_path(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(target: Path, content: bytes) -> None:
    """Writes bytes atomically."""
    with atomic_path(target) as temporary:
        temporary.write_bytes(content)


def write_json(target: Path, content: Any) -> None:
    """Writes JSON atomically, keys in the order given; NaN is refused (use None and a reason)."""
    write_text(target, json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def write_csv(target: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes a UTF-8 table atomically; every row must have exactly the given columns."""
    with (
        atomic_path(target) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as stream,
    ):
        writer = csv.DictWriter(stream, fieldnames=list(columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_json(source: Path) -> Any:
    """Reads a JSON file.

    Raises:
        DataError: the file is missing, unreadable or not JSON.
    """
    try:
        return json.loads(Path(source).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(
            str(source), found="no such file", expected="a JSON file", remedy="Check the path."
        ) from error
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(
            str(source),
            found=f"a file that cannot be read as JSON ({error})",
            expected="valid UTF-8 JSON",
            remedy="Restore the file or make it again with the command that wrote it.",
        ) from error


def read_json_lines(source: Path) -> list[Any]:
    """Reads a file of one JSON value per line; blank lines are left out.

    Raises:
        DataError: missing, or a line is not JSON; the message names it.
    """
    try:
        lines = Path(source).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            str(source), found=str(error), expected="UTF-8 JSON lines", remedy="Check the path."
        ) from error
    values = []
    for number, line in enumerate(lines, start=1):
        try:
            values += [json.loads(line)] if line.strip() else []
        except json.JSONDecodeError as error:
            raise DataError(
                f"{source}, line {number}",
                found=f"text that is not JSON ({error})",
                expected="one JSON value",
                remedy="Restore the file from the run.",
            ) from error
    return values


def read_csv(source: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Reads a UTF-8 table with a header: its columns and one dictionary per row, values stripped.

    Raises:
        DataError: missing, unreadable, empty, a duplicate column, or a row of another length.
    """
    try:
        with Path(source).open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream)
            numbered = [(reader.line_num, row) for row in reader if any(c.strip() for c in row)]
    except FileNotFoundError as error:
        raise DataError(
            str(source), found="no such file", expected="a CSV table", remedy="Check the path."
        ) from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            str(source),
            found=f"a file that cannot be read as a table ({error})",
            expected="UTF-8 CSV with a header line",
            remedy="Save the table as CSV (UTF-8) and try again.",
        ) from error
    if not numbered:
        raise DataError(
            str(source), found="an empty file", expected="a header line", remedy="Fill the table."
        )
    columns = [cell.strip() for cell in numbered[0][1]]
    _check_rows(Path(source), columns, numbered[1:])
    rows = [dict(zip(columns, (c.strip() for c in row), strict=True)) for _, row in numbered[1:]]
    return columns, rows


def _check_rows(source: Path, columns: list[str], rows: list[tuple[int, list[str]]]) -> None:
    if len(set(columns)) != len(columns):
        raise DataError(
            str(source),
            found=f"the header {columns} with a repeated column",
            expected="column names that differ",
            remedy="Rename one of them.",
        )
    for number, row in rows:
        if len(row) != len(columns):
            raise DataError(
                f"{source}, line {number}",
                found=f"{len(row)} values",
                expected=f"{len(columns)}, one for each of {columns}",
                remedy="Correct the line (quote values that contain commas).",
            )


def sha256(source: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with Path(source).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
