"""The one place of segduet where an archive is unpacked: everything is checked first (B20)."""

import contextlib
import hashlib
import os
import secrets
import shutil
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from segduet.core.errors import DataError, RequestError, StorageError
from segduet.inference.bundles.entry_names import check_names
from segduet.inference.bundles.manifest import (
    MANIFEST_FILE,
    MAX_MANIFEST_BYTES,
    BundleManifest,
    parse_manifest,
)
from segduet.inference.bundles.refusals import refused
from segduet.inference.bundles.sections import Section
from segduet.inference.bundles.verification import (
    MAX_RECORD_BYTES,
    check_file,
    check_listing,
    read_coarse_manifest,
    read_record,
)
from segduet.inference.bundles.zip_directory import ZipEntry, read_directory


def check_archive(archive: Path) -> BundleManifest:
    """Checks everything about a bundle's archive and writes nothing.

    Returns:
        Its manifest.

    Raises:
        DataError: the archive is missing, damaged or hostile; the message names the fault.
    """
    with _opened(archive) as stream:
        return _checked(archive, stream).manifest


def extract_archive(archive: Path, target: Path) -> None:
    """Checks everything about an archive, then unpacks it into a folder that appears when complete.

    Args:
        archive: it may come from anywhere.
        target: the folder it becomes; new or empty.

    Raises:
        DataError: the archive is missing, damaged or hostile; nothing was written.
        RequestError: the folder holds something already.
        StorageError: the disk is full or cannot be written; nothing is left behind.
    """
    _require_free(target)
    with _opened(archive) as stream:
        checked = _checked(archive, stream)
        with _new_folder(target) as temporary:
            for entry in checked.entries:
                found = _write(entry.section, temporary / entry.name)
                # once more, for whoever changes the archive between the check and now
                if found != checked.hashes[entry.name]:
                    raise refused(
                        entry.section.where,
                        found="a file that changed while it was unpacked",
                        expected="an archive that nobody changes",
                    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Checked:
    """An archive of which everything is checked; hashes are by entry, the manifest's included."""

    manifest: BundleManifest
    entries: Sequence[ZipEntry]
    hashes: Mapping[str, str]


@contextlib.contextmanager
def _opened(archive: Path) -> Iterator[BinaryIO]:
    try:
        stream = archive.open("rb")
    except OSError as error:
        raise DataError(
            str(archive),
            found=f"no readable file ({error.strerror or error})",
            expected="a bundle's archive",
            remedy="Check the path.",
        ) from error
    with stream:
        yield stream


def _checked(archive: Path, stream: BinaryIO) -> _Checked:
    where = str(archive)
    entries = read_directory(Section.of_file(stream, archive))
    check_names([entry.name for entry in entries], where=where)
    by_name = {entry.name: entry for entry in entries}
    content = _manifest_bytes(by_name, where)
    manifest = parse_manifest(content, where=by_name[MANIFEST_FILE].section.where)
    sizes = {n: e.section.size for n, e in by_name.items() if n != MANIFEST_FILE}
    check_listing(manifest, sizes, where=where)
    for name in manifest.files:
        _check_crc(by_name[name])
        check_file(name, by_name[name].section, manifest)
    _check_records(manifest, by_name, where)
    hashes = {name: record.sha256 for name, record in manifest.files.items()}
    hashes[MANIFEST_FILE] = hashlib.sha256(content).hexdigest()
    return _Checked(manifest=manifest, entries=entries, hashes=hashes)


def _manifest_bytes(by_name: Mapping[str, ZipEntry], where: str) -> bytes:
    entry = by_name.get(MANIFEST_FILE)
    if entry is None:
        raise refused(where, found=f"no {MANIFEST_FILE}", expected="a bundle of segduet")
    content = entry.section.read_all(MAX_MANIFEST_BYTES)
    _check_crc(entry)
    return content


def _check_crc(entry: ZipEntry) -> None:
    crc = 0
    for chunk in entry.section.chunks():
        crc = zlib.crc32(chunk, crc)
    if crc != entry.crc:
        raise refused(
            entry.section.where,
            found=f"bytes of the checksum {crc:08x}",
            expected=f"{entry.crc:08x}, as the archive says",
        )


def _check_records(manifest: BundleManifest, by_name: Mapping[str, ZipEntry], where: str) -> None:
    def read(name: str) -> bytes:
        return by_name[name].section.read_all(MAX_RECORD_BYTES)

    read_record(manifest, read, where=where)
    if manifest.coarse is not None:
        prefix = manifest.coarse
        inner = read_coarse_manifest(manifest, read, where=where)
        read_record(inner, lambda name: read(f"{prefix}/{name}"), where=f"{where}, {prefix}")


def _require_free(target: Path) -> None:
    is_free = not any(target.iterdir()) if target.is_dir() else not os.path.lexists(target)
    if not is_free:
        raise RequestError(
            str(target),
            found="something there already",
            expected="a new or an empty folder",
            remedy="Choose another folder.",
        )


@contextlib.contextmanager
def _new_folder(target: Path) -> Iterator[Path]:
    """A temporary folder beside the target that takes its place on success, or vanishes."""
    temporary = target.with_name(f".partial-{secrets.token_hex(8)}")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        temporary.replace(target)
    except OSError as error:
        raise StorageError(
            str(target),
            found=f"the write failed: {error.strerror or error}",
            expected="a folder with free space that this user may write to",
            remedy="Free some space or choose another folder; nothing was left behind.",
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write(content: Section, target: Path) -> str:
    """Writes the bytes to a new file and returns their hash."""
    digest = hashlib.sha256()
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as stream:
        for chunk in content.chunks():
            digest.update(chunk)
            stream.write(chunk)
        stream.flush()
        os.fsync(stream.fileno())
    return digest.hexdigest()
