"""Hashes of files, remembered by their size and times, so that a start need not read every byte.

Reading 100 MB of weights to hash them costs more than a whole short prediction. A file is read
again as soon as its size or one of its times differs: writing, renaming or restoring it changes at
least the time of the last status change, which no program sets at will. What this cannot see is a
disk that rots under an untouched file; a bundle, which travels, is therefore hashed in full where
it is unpacked.
"""

import contextlib
from pathlib import Path

from segduet.core.errors import DataError, StorageError
from segduet.core.files import read_json, sha256, write_json

_FILE = "hashes.json"

#: Size, times of the last change of content and of status in ns, SHA-256.
_Known = list[int | str]


class RememberedHashes:
    """SHA-256 of files, read from disk only where a file changed since.

    Args:
        folders: where hashes were left by `save`; missing or damaged records are made anew.
    """

    def __init__(self, *folders: Path) -> None:
        self._known: dict[str, _Known] = {}
        for folder in folders:
            with contextlib.suppress(DataError, ValueError, TypeError):
                self._known.update(read_json(folder / _FILE))
        self._is_new = False

    def sha256(self, file: Path) -> str:
        """The hash of a file as it is now.

        Raises:
            OSError: it cannot be read.
        """
        path = file.resolve()
        before = path.stat()
        stamp = [before.st_size, before.st_mtime_ns, before.st_ctime_ns]
        known = self._known.get(str(path))
        if isinstance(known, list) and known[:3] == stamp and len(known) == 4:
            return str(known[3])
        found = sha256(path)
        self._known[str(path)] = [*stamp, found]
        self._is_new = True
        return found

    def save(self, folder: Path) -> None:
        """Leaves what is known in a folder, if there is anything new and the folder takes it."""
        if not self._is_new:
            return
        with contextlib.suppress(StorageError):  # the next start reads the files again
            write_json(folder / _FILE, self._known)
            self._is_new = False
