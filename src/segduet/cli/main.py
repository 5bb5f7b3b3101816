"""The `segduet` command: assembles the verbs and turns errors into one message and an exit code."""

import errno
import logging
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from segduet.cli import (
    advising,
    answers,
    benchmarking,
    calibrating,
    cleaning,
    comparing,
    compressing,
    data,
    documenting,
    exporting,
    learning,
    patients,
    product,
    reporting,
    studying,
    submitting,
    tuning,
)
from segduet.core.errors import SegduetError, StorageError

INTERRUPTED = 130

#: The machine refuses: no space or quota left, a file too large, no permission, read-only.
_REFUSALS = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS}
)


class _InterruptedError(Exception):
    """Ctrl-C, told apart from what typer itself makes of a KeyboardInterrupt (silence)."""


class _Commands(TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        """Runs one command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise _InterruptedError from error


app = typer.Typer(
    name="segduet",
    cls=_Commands,
    help="One network, two answers: segments a medical image and classifies the case.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for group in (
    product,
    data,
    learning,
    answers,
    reporting,
    exporting,
    patients,
    benchmarking,
    cleaning,
    compressing,
    calibrating,
    studying,
    submitting,
    tuning,
    documenting,
    advising,
    comparing,
):
    group.register(app)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command and exits: 0 done, 1 our failure, 2 bad request or input, 3 findings.

    An interruption by the user exits with 130, as a shell would.
    """
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        app(args=list(arguments) if arguments is not None else None, prog_name="segduet")
    except SegduetError as error:
        _exit_with(error)
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
        _exit_with(_refused(error))
    except _InterruptedError:
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
