"""The directory of a bundle's archive, read as strictly as it is written.

Only one layout is a bundle: stored entries one after the other from the first byte on, then their
directory, then its end record, and nothing before, between or behind them. An archive that two
programs could read in two ways is none.

Source: PKWARE, APPNOTE.TXT 6.3.10, sections 4.3.7 (local header), 4.3.12 (directory), 4.3.16 (end).
"""

import stat
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from segduet.core.errors import DataError
from segduet.inference.bundles.refusals import refused, shown
from segduet.inference.bundles.sections import Section

#: More files than any ensemble needs.
MAX_ENTRIES = 4096
#: Sizes and offsets of an archive without extensions end at 4 GiB.
MAX_TOTAL_BYTES = 4 * 10**9
_MAX_NAME_BYTES = 1024

_END = struct.Struct("<4s4H2LH")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_STORED = 0
_UTF8_FLAG = 0x800
_ENCRYPTED_FLAGS = 0x1 | 0x40 | 0x2000
_FOLDER_ATTRIBUTE = 0x10


class _Header(NamedTuple):
    """One record of the directory, in its order."""

    magic: bytes
    made_by: int
    needed: int
    flags: int
    method: int
    time: int
    date: int
    crc: int
    stored: int
    size: int
    name_length: int
    extra_length: int
    comment_length: int
    disk: int
    internal: int
    attributes: int
    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ZipEntry:
    """One file of an archive.

    Attributes:
        name: as the archive has it, unchecked.
        crc: CRC-32 of its bytes, as the archive states it.
        section: where its bytes lie.
    """

    name: str
    crc: int
    section: Section


def read_directory(archive: Section) -> list[ZipEntry]:
    """All entries of an archive, none of which is unpacked yet.

    Args:
        archive: the whole file.

    Raises:
        DataError: no archive, or one of another layout than `pack_bundle` writes: compressed or
            encrypted entries, links, folders, overlaps, hidden bytes, sizes that do not add up, too
            many entries or bytes.
    """
    count, start, size = _end_record(archive)
    directory = archive.read(start, size)
    entries, position = [], 0
    for _ in range(count):
        entry, position = _entry(archive, directory, position)
        entries.append(entry)
    if position != len(directory):
        raise refused(
            archive.where,
            found=f"{len(directory) - position} bytes behind the directory's last entry",
            expected="a directory that ends with it",
        )
    _check_total(archive, entries)
    _check_tiling(archive, entries, start)
    return entries


def _end_record(archive: Section) -> tuple[int, int, int]:
    """Number of entries, start and length of the directory."""
    if archive.read(0, 4) not in (b"PK\3\4", b"PK\5\6"):
        raise refused(
            archive.where,
            found="a file that does not begin as an archive",
            expected="a bundle's archive, with nothing before it",
        )
    tail = archive.read(max(archive.size - _END.size, 0), _END.size)
    if len(tail) < _END.size or not tail.startswith(b"PK\5\6"):
        raise refused(
            archive.where,
            found="no end record at the end: the file is cut, or data or a comment follow it",
            expected="a bundle's archive that ends with its end record",
        )
    _, disk, first_disk, here, count, size, start, comment = _END.unpack(tail)
    if disk or first_disk or here != count or comment or start == 0xFFFFFFFF:
        raise refused(
            archive.where,
            found="an archive in several parts, with a comment, or with 64-bit extensions",
            expected="a bundle's archive in one part",
        )
    if count > MAX_ENTRIES:
        raise refused(
            archive.where, found=f"{count} entries", expected=f"at most {MAX_ENTRIES} files"
        )
    if start + size != archive.size - _END.size or size > MAX_ENTRIES * _MAX_NAME_BYTES:
        raise refused(
            archive.where,
            found=f"a directory of {size} bytes at {start} in a file of {archive.size}",
            expected="a directory right before the end record",
        )
    return count, start, size


def _entry(archive: Section, directory: bytes, position: int) -> tuple[ZipEntry, int]:
    """The entry at a position of the directory, and the position of the next."""
    record = directory[position : position + _ENTRY.size]
    if len(record) < _ENTRY.size or not record.startswith(b"PK\1\2"):
        raise refused(
            archive.where,
            found="a directory that ends too early or holds something else",
            expected="one record for each of its entries",
        )
    header = _Header._make(_ENTRY.unpack(record))
    end = position + _ENTRY.size + header.name_length
    raw_name = directory[position + _ENTRY.size : end]
    name = _decoded(archive, raw_name, expected_length=header.name_length)
    where = f"{archive.where}, entry {shown(name)}"
    _check_kind(where, header)
    _check_shape(where, header)
    _check_local_header(archive, where, header, raw_name)
    section = Section(
        stream=archive.stream,
        offset=header.offset + _LOCAL.size + header.name_length,
        size=header.size,
        where=where,
    )
    return ZipEntry(name=name, crc=header.crc, section=section), end


def _decoded(archive: Section, raw_name: bytes, *, expected_length: int) -> str:
    try:
        name = raw_name.decode("utf-8")
    except UnicodeDecodeError as error:
        raise refused(
            archive.where, found=f"the entry name {raw_name[:80]!r}", expected="UTF-8"
        ) from error
    if len(raw_name) != expected_length or not 0 < len(raw_name) <= _MAX_NAME_BYTES:
        raise refused(
            archive.where,
            found=f"an entry name of {len(raw_name)} bytes, said to be {expected_length}",
            expected=f"names of 1 to {_MAX_NAME_BYTES} bytes",
        )
    return name


def _check_kind(where: str, header: _Header) -> None:
    mode = header.attributes >> 16
    kind = stat.S_IFMT(mode)
    if header.flags & _ENCRYPTED_FLAGS:
        raise refused(where, found="an encrypted entry", expected="a readable one")
    if header.flags & ~_UTF8_FLAG:
        raise refused(
            where, found=f"the flags {header.flags:#06x}", expected="none, or UTF-8 names"
        )
    if header.method != _STORED:
        raise refused(
            where,
            found=f"compression method {header.method}",
            expected="a stored entry: a bundle is not compressed, so it cannot swell",
        )
    if kind == stat.S_IFLNK:
        raise refused(where, found="a symbolic link", expected="a regular file")
    if kind not in (0, stat.S_IFREG) or header.attributes & _FOLDER_ATTRIBUTE:
        raise refused(
            where,
            found=f"a folder, device or pipe (mode {mode:o})",
            expected="a regular file",
        )


def _check_shape(where: str, header: _Header) -> None:
    if header.stored != header.size:
        raise refused(
            where,
            found=f"{header.stored} bytes said to become {header.size}",
            expected="a stored entry, of one size",
        )
    if header.extra_length or header.comment_length or header.disk:
        raise refused(
            where,
            found="extra fields, a comment or another part of the archive",
            expected="an entry without them",
        )


def _check_local_header(archive: Section, where: str, header: _Header, raw_name: bytes) -> None:
    """The header before the bytes must repeat the directory, or programs would disagree."""
    found = archive.read(header.offset, _LOCAL.size + header.name_length)
    if not _repeats(found, header, raw_name):
        raise refused(
            where,
            found="a header that contradicts the archive's directory",
            expected="the same name, size and kind in both",
        )


def _repeats(found: bytes, header: _Header, raw_name: bytes) -> bool:
    if len(found) != _LOCAL.size + len(raw_name) or found[_LOCAL.size :] != raw_name:
        return False
    repeated = _LOCAL.pack(
        b"PK\3\4",
        *header[2:7],
        header.crc,
        header.stored,
        header.size,
        header.name_length,
        header.extra_length,
    )
    return found[: _LOCAL.size] == repeated


def _check_total(archive: Section, entries: Sequence[ZipEntry]) -> None:
    total = sum(entry.section.size for entry in entries)
    if total > MAX_TOTAL_BYTES:
        raise refused(
            archive.where, found=f"{total} bytes in all", expected=f"at most {MAX_TOTAL_BYTES}"
        )


def _check_tiling(archive: Section, entries: Sequence[ZipEntry], directory_start: int) -> None:
    """Entries lie end to end from byte 0 to the directory."""
    position = 0
    for entry in sorted(entries, key=lambda e: e.section.offset):
        header = _LOCAL.size + len(entry.name.encode())
        if entry.section.offset - header != position:
            raise _misplaced(entry.section.where, entry.section.offset - header, position)
        position = entry.section.offset + entry.section.size
    if position != directory_start:
        raise _misplaced(f"{archive.where}, directory", directory_start, position)


def _misplaced(where: str, found: int, expected: int) -> DataError:
    kind = "overlapping entries" if found < expected else "hidden bytes between entries"
    return refused(
        where,
        found=f"{kind}: it begins at byte {found}",
        expected=f"byte {expected}, where the one before it ends",
    )
