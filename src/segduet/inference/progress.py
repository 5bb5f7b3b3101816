"""`progress.jsonl`: what became of each case so far, so that a prediction can go on.

The first line says what answers; every other line is one case, added after its files were written.
A line that a killed run left half written is dropped. Several runs may share a folder, each with a
file of its own for its shard of the cases.
"""

import errno
import fcntl
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from segduet.core.errors import DataError, RequestError
from segduet.core.files import remove_unfinished, storage_errors
from segduet.inference.answers_file import AnswerRow
from segduet.inference.shards import Shard

Stamps = tuple[tuple[int, int], ...]

#: The whole cohort's file and those of shards.
ALL_PROGRESS_FILES = "progress*.jsonl"


class FinishedCase(BaseModel):
    """What is kept of a case once its files are written.

    Attributes:
        images: size and time of its images, as `CaseInput.stamps`.
        row: its line of predictions.csv.
        region: what fast mode looked at; None where everything was.
        features: task -> what its head read, where that is kept.
    """

    # JSON has no NaN; what was written must be read again, whatever a network said
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    images: Stamps
    row: AnswerRow
    region: dict[str, Any] | None = None
    features: dict[str, tuple[float, ...]] = {}


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a case stands."""

    file: Path
    offset: int
    is_ok: bool
    images: Stamps

    @classmethod
    def of(cls, finished: FinishedCase, file: Path, offset: int) -> Self:
        return cls(file, offset, finished.row.status == "ok", finished.images)


class Progress:
    """The cases that are done, on disk; in memory there are only their names and places.

    Args:
        folder: of the answers; made where needed.
        identity: JSON that says what answers, and how; runs that go on must be alike.
        shard: which share of the cases this run predicts.
        resume: go on; False forgets what was done.

    Raises:
        RequestError: another run writes this file now, or another model or setting began it.
        DataError: a damaged file.
        StorageError: it cannot be written.
    """

    def __init__(
        self, folder: Path, identity: Mapping[str, Any], *, shard: Shard, resume: bool
    ) -> None:
        self._file = folder / f"progress{shard.suffix}.jsonl"
        self._identity = json.loads(json.dumps(identity))
        self._places: dict[str, _Place] = {}
        with storage_errors(self._file):
            folder.mkdir(parents=True, exist_ok=True)
            self._stream = _locked(self._file)
        try:
            self._begin(folder, shard=shard, resume=resume)
        except BaseException:
            self._stream.close()
            if self._file.stat().st_size == 0:
                self._file.unlink()
            raise

    def __enter__(self) -> Self:
        """The open file."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Lets other runs have the file."""
        self._stream.close()

    def is_ok(self, case: str, images: Stamps) -> bool:
        """Whether this case was answered, and from these images."""
        place = self._places.get(case)
        return place is not None and place.is_ok and place.images == images

    def add(self, finished: FinishedCase) -> None:
        """Writes a case down; it is on disk afterwards.

        Raises:
            StorageError: the disk is full.
        """
        offset = self._append(finished.model_dump_json(exclude_defaults=True).encode())
        self._places[finished.row.case] = _Place.of(finished, self._file, offset)

    def remove_unfinished(self, targets: Iterable[Path]) -> None:
        """Removes what killed runs left half written of these files.

        Nothing is removed while another run writes into the folder.
        """
        others = set(self._file.parent.glob(ALL_PROGRESS_FILES)) - {self._file}
        if not any(map(_is_held, others)):
            remove_unfinished(targets)

    def finished(self, cases: Iterable[str]) -> Iterator[FinishedCase]:
        """Those of the cases that were answered or failed, in the order given, read from disk."""
        for case in cases:
            if place := self._places.get(case):
                with place.file.open("rb") as stream:
                    stream.seek(place.offset)
                    yield FinishedCase.model_validate_json(stream.readline())

    def _begin(self, folder: Path, *, shard: Shard, resume: bool) -> None:
        others = set(folder.glob(ALL_PROGRESS_FILES)) - {self._file}
        if resume:
            for file in sorted({*others, self._file}):
                self._read(file)
        elif shard.is_all:
            for file in others:
                with _locked(file):
                    file.unlink()
        if not resume:
            self._stream.truncate(0)
        if self._stream.seek(0, os.SEEK_END) == 0:
            self._append(json.dumps(self._identity).encode())

    def _read(self, file: Path) -> None:
        """Takes in what a file holds; cuts half a line off one's own."""
        offset = 0
        with file.open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                if not line.endswith(b"\n"):
                    break
                where = f"{file}, line {number}"
                if number == 1:
                    self._require_same(line, where)
                else:
                    finished = _parsed(line, where)
                    self._places[finished.row.case] = _Place.of(finished, file, offset)
                offset += len(line)
        if file == self._file:
            self._stream.truncate(offset)

    def _require_same(self, line: bytes, where: str) -> None:
        try:
            before = json.loads(line)
        except ValueError as error:
            raise _damaged(where, error) from error
        wanted = self._identity
        names = sorted({*before, *wanted}) if isinstance(before, dict) else []
        other = [name for name in names if before.get(name) != wanted.get(name)]
        if other or not names:
            shown = [f"{n} {before.get(n)!r}, now {wanted.get(n)!r}" for n in other]
            raise RequestError(
                f"--resume, {where}",
                found=f"a prediction begun otherwise: {'; '.join(shown) or 'nothing is said'}",
                expected="the same model and settings",
                remedy="Repeat the first command with --resume, or leave --resume out to begin "
                "again.",
            )

    def _append(self, content: bytes) -> int:
        """Adds a line; returns where it begins."""
        line = content + b"\n"
        with storage_errors(self._file):
            offset = self._stream.seek(0, os.SEEK_END)
            try:
                if self._stream.write(line) < len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(self._stream.fileno())
            except OSError:
                self._stream.truncate(offset)  # half a line would end up inside the next
                raise
        return offset


def _locked(file: Path) -> io.FileIO:
    stream = file.open("ab", buffering=0)
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        stream.close()
        raise RequestError(
            str(file),
            found="another prediction that writes into this folder now",
            expected="one at a time, or shards of one (--shard)",
            remedy="Wait for it, or choose another folder with --out.",
        ) from error
    return stream


def _is_held(file: Path) -> bool:
    """Whether another run writes a file now."""
    if not file.exists():
        return False
    try:
        _locked(file).close()
    except RequestError:
        return True
    return False


def _parsed(line: bytes, where: str) -> FinishedCase:
    try:
        return FinishedCase.model_validate_json(line)
    except ValidationError as error:
        raise _damaged(where, error) from error


def _damaged(where: str, error: Exception) -> DataError:
    return DataError(
        where,
        found=f"a line that is no record of a case ({' '.join(str(error).split())[:200]})",
        expected="the file as segduet predict wrote it",
        remedy="Leave --resume out to begin again.",
    )
