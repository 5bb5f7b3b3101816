"""A stretch of a file that is read in small pieces, never beyond its end."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from segduet.core.errors import DataError

_CHUNK_BYTES = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One file of a bundle: a whole file, or its bytes in an archive.

    Attributes:
        stream: where it is read from.
        offset: of its first byte in the stream.
        size: bytes.
        where: file and entry, for messages.
    """

    stream: BinaryIO
    offset: int
    size: int
    where: str

    @classmethod
    def of_file(cls, stream: BinaryIO, where: Path) -> "Section":
        """All of an open file."""
        size = os.fstat(stream.fileno()).st_size
        return cls(stream=stream, offset=0, size=size, where=str(where))

    def read(self, start: int, length: int) -> bytes:
        """The bytes from `start`, fewer where the section ends before.

        Raises:
            DataError: the file cannot be read, or became shorter meanwhile.
        """
        wanted = max(min(length, self.size - start), 0)
        try:
            self.stream.seek(self.offset + start)
            content = self.stream.read(wanted)
        except OSError as error:
            raise DataError(
                self.where,
                found=f"a read error ({error.strerror or error})",
                expected="a file that can be read",
                remedy="Check the disk or the network drive.",
            ) from error
        if len(content) != wanted:
            raise DataError(
                self.where,
                found="a file that became shorter while it was read",
                expected="a file that nobody changes",
                remedy="Try again once it is complete.",
            )
        return content

    def read_all(self, limit: int) -> bytes:
        """All bytes.

        Raises:
            DataError: they are more than `limit`, or cannot be read.
        """
        if self.size > limit:
            raise DataError(
                self.where,
                found=f"{self.size} bytes",
                expected=f"at most {limit} in a file of this kind",
                remedy="Export the model again.",
            )
        return self.read(0, self.size)

    def chunks(self) -> Iterator[bytes]:
        """All bytes in pieces of a megabyte."""
        for start in range(0, self.size, _CHUNK_BYTES):
            yield self.read(start, _CHUNK_BYTES)
