"""One archive of a bundle's folder."""

import shutil
import stat
import zipfile
from pathlib import Path

from segduet.core.errors import RequestError
from segduet.core.files import atomic_path
from segduet.inference.bundles.manifest import MANIFEST_FILE
from segduet.inference.bundles.opening import open_bundle_folder
from segduet.inference.bundles.zip_directory import MAX_ENTRIES, MAX_TOTAL_BYTES

_MODE = stat.S_IFREG | 0o644


def pack_bundle(folder: Path, archive: Path) -> None:
    """Packs a bundle's folder into one zip archive, stored, whose bytes depend on its files alone.

    Args:
        folder: a complete bundle; every file of it is checked first.
        archive: replaced only once the new one is complete.

    Raises:
        DataError: the folder is no sound bundle.
        RequestError: it is too large for an archive.
        StorageError: the disk is full or cannot be written.
    """
    manifest = open_bundle_folder(folder, verify=True).manifest
    names = [MANIFEST_FILE, *sorted(manifest.files)]
    total = sum((folder / name).stat().st_size for name in names)
    if total > MAX_TOTAL_BYTES or len(names) > MAX_ENTRIES:
        raise RequestError(
            str(folder),
            found=f"{len(names)} files of {total} bytes",
            expected=f"at most {MAX_ENTRIES} files of {MAX_TOTAL_BYTES} bytes in an archive",
            remedy="Use the folder as it is, leave out the weights, or take fewer folds.",
        )
    with (
        atomic_path(archive) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED, allowZip64=False) as packed,
    ):
        for name in names:
            entry = zipfile.ZipInfo(name)
            entry.external_attr = _MODE << 16
            entry.create_system = 3  # the system whose modes these are
            entry.file_size = (folder / name).stat().st_size
            with (folder / name).open("rb") as source, packed.open(entry, "w") as target:
                shutil.copyfileobj(source, target)
