"""Where converted networks and unpacked archives are kept, by the content they were made from.

A conversion is a folder laid out as an unpacked bundle. Its name tells what it was made from: the
hashes of the weights, of plans.json and of dataset.json, the runtime and the version of the layout.
Changed weights therefore never meet an old conversion.
"""

import contextlib
import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from segduet.core.errors import StorageError
from segduet.core.runtime import RuntimeFormat
from segduet.dataset.staging import staged_folder
from segduet.workflows.models import ModelFolder
from segduet.workflows.remembered_hashes import RememberedHashes

log = logging.getLogger(__name__)

#: Raised whenever converted networks change in a way that makes older ones wrong.
CONVERSION_VERSION = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionCache:
    """Folders that hold conversions.

    Attributes:
        folders: searched in this order; a new conversion goes to the first that can be written.
        hashes: of files that conversions are made from and consist of.
    """

    folders: tuple[Path, ...]
    hashes: RememberedHashes

    @classmethod
    def beside(cls, model_folder: Path, chosen: Path | None) -> "ConversionCache":
        """The chosen folder, else `.segduet` in the model folder and the user's cache folder."""
        return cls.of(*([chosen] if chosen else [model_folder / ".segduet", user_cache()]))

    @classmethod
    def for_bundles(cls, chosen: Path | None) -> "ConversionCache":
        """The chosen folder, else the user's cache folder."""
        return cls.of(chosen or user_cache())

    @classmethod
    def of(cls, *folders: Path) -> "ConversionCache":
        """These folders, with the hashes remembered in them."""
        return cls(folders=folders, hashes=RememberedHashes(*folders))

    def find(self, name: str) -> Path | None:
        """The conversion of this name; None where there is none."""
        found = (folder / name for folder in self.folders)
        return next((path for path in found if path.is_dir()), None)

    def make(self, name: str, fill: Callable[[Path], None]) -> Path:
        """Makes a conversion that appears whole or not at all; the first of two processes wins.

        Args:
            name: as from `conversion_name`.
            fill: writes it into the folder it is given.

        Raises:
            StorageError: none of the folders can be written, or the disk is full.
        """
        target = self._writable() / name
        try:
            with staged_folder(target) as temporary:
                fill(temporary)
        except StorageError:
            # another process was faster, and what it renamed into place is whole
            if not target.is_dir():
                raise
        return target

    def remove(self, conversion: Path) -> None:
        """Takes a conversion away; a process that has it open keeps its files until it ends.

        Raises:
            StorageError: it cannot be moved.
        """
        try:
            grave = tempfile.mkdtemp(prefix=".removed-", dir=conversion.parent)
            with contextlib.suppress(FileNotFoundError):  # another process was faster
                conversion.rename(Path(grave) / conversion.name)
            shutil.rmtree(grave, ignore_errors=True)
        except OSError as error:
            raise StorageError(
                str(conversion),
                found=f"a damaged conversion that cannot be removed: {error.strerror}",
                expected="a folder that this user may write to",
                remedy="Remove it by hand, or choose another folder with --cache.",
            ) from error

    def for_compiled(self) -> Path | None:
        """Where a runtime may keep what it compiled; None where no folder can be written.

        A model that is shared read-only, conversions included, then only starts more slowly.
        """
        try:
            return self._writable() / "compiled"
        except StorageError as error:
            log.info("%s", error)
            return None

    def _writable(self) -> Path:
        refusals = []
        for folder in self.folders:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                tempfile.TemporaryFile(dir=folder).close()
            except OSError as error:
                refusals.append(f"{folder}: {error.strerror}")
            else:
                return folder
        raise StorageError(
            "converted networks",
            found=f"no folder to keep them in ({'; '.join(refusals)})",
            expected="a folder with free space that this user may write to",
            remedy="Choose one with --cache.",
        )


def user_cache() -> Path:
    """The user's cache folder for segduet, `XDG_CACHE_HOME/segduet`.

    Source: XDG Base Directory Specification 0.8, where the variable is unset: `~/.cache`.
    """
    named = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(named) if Path(named).is_absolute() else Path.home() / ".cache"
    return base / "segduet"


def conversion_name(folder: ModelFolder, runtime: RuntimeFormat, hashes: RememberedHashes) -> str:
    """Name of a conversion, such as `openvino-0f3a...`, that follows from all it is made from.

    Raises:
        DataError: a file cannot be read.
    """
    sources = (folder.folder / "plans.json", folder.folder / "dataset.json", *folder.weights)
    content = {
        "version": CONVERSION_VERSION,
        "configuration": folder.configuration_name,
        "files": [[str(s.relative_to(folder.folder)), hashes.sha256(s)] for s in sources],
    }
    digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    return f"{runtime}-{digest[:24]}"
