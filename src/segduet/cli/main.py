"""The `segduet` command: runs one of its verbs; errors become one message and an exit code."""

import errno
import gc
import logging
import sys
from collections.abc import Sequence
from typing import NoReturn

from segduet.cli.program import InterruptedCommandError, program
from segduet.core.errors import SegduetError, StorageError

INTERRUPTED = 130

#: New objects between two searches for cycles of dead ones, 700 in Python 3.11. What a start makes,
#: mostly modules, stays: searching it again and again takes a tenth of the start.
_OBJECTS_BETWEEN_SEARCHES = 20_000

#: The machine refuses: no space or quota left, a file too large, no permission, read-only.
_REFUSALS = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS}
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command and exits: 0 done, 1 our failure, 2 bad request or input, 3 findings.

    An interruption by the user exits with 130, as a shell would.
    """
    gc.set_threshold(_OBJECTS_BETWEEN_SEARCHES)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        program(given[0] if given else None)(args=given, prog_name="segduet")
    except SegduetError as error:
        _exit_with(error)
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
        _exit_with(_refused(error))
    except InterruptedCommandError:
        sys.stderr.write("interrupted: what was finished is kept\n")
        sys.exit(INTERRUPTED)


def _exit_with(error: SegduetError) -> NoReturn:
    sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
    sys.exit(error.exit_code)


def _refused(error: OSError) -> StorageError:
    return StorageError(
        str(error.filename or "a file"),
        found=f"it could not be read or written: {error.strerror}",
        expected="a readable file, or a folder with free space that this user may write to",
        remedy="Free some space, correct the permissions, or choose another folder.",
    )


if __name__ == "__main__":
    main()
