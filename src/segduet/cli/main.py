"""The `segduet` command: assembles the verbs and turns errors into one message and an exit code."""

import logging
import sys
from collections.abc import Sequence

import typer

from segduet.cli import answers, data, learning, product
from segduet.core.errors import SegduetError

INTERRUPTED = 130

app = typer.Typer(
    name="segduet",
    help="One network, two answers: segments a medical image and classifies the case.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for group in (product, data, learning, answers):
    group.register(app)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command and exits: 0 done, 1 our failure, 2 bad request or input, 3 findings."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        app(args=list(arguments) if arguments is not None else None)
    except SegduetError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted: what was finished is kept\n")
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
