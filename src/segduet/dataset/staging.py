"""A folder that appears whole or not at all."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from segduet.core.errors import StorageError


@contextlib.contextmanager
def staged_folder(target: Path) -> Iterator[Path]:
    """Yields a temporary folder beside `target`, which is renamed to it on success.

    On any error, an interruption included, the temporary folder is removed.

    Raises:
        StorageError: the disk is full, the place cannot be written, or `target` is not empty.
    """
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".partial-{target.name}-", dir=target.parent))
        yield temporary
        temporary.chmod(0o755)
        temporary.rename(target)
    except OSError as error:
        raise StorageError(
            str(target),
            found=f"the write failed: {error.strerror or error}",
            expected="a folder with free space that this user may write to",
            remedy="Free some space or choose another folder; nothing was half-written.",
        ) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def copy_synced(source: Path, target: Path) -> None:
    """Copies the bytes of a file and waits until they are on the disk.

    Raises:
        OSError: it could not be read or written.
    """
    shutil.copyfile(source, target)
    with target.open("rb") as written:
        os.fsync(written.fileno())
