"""All commands as one program, or one command of it: most of a short command's start is the others.

Every module named here adds its commands by a function `register`.
"""

import importlib
from typing import Any

import typer
from typer.core import TyperGroup
from typer.models import CommandInfo

#: Module of this package -> its commands, in the order in which `segduet --help` lists them.
COMMANDS = {
    "product": ("demo", "info"),
    "data": ("import", "check", "plan", "preprocess"),
    "learning": ("train",),
    "answers": ("predict", "evaluate", "package"),
    "reporting": ("report",),
    "exporting": ("export",),
    "patients": ("patients",),
    "benchmarking": ("bench",),
    "cleaning": ("cleanup",),
    "compressing": ("prune", "gate"),
    "calibrating": ("calibrate",),
    "studying": ("run", "ablate"),
    "submitting": ("submit",),
    "tuning": ("tune",),
    "documenting": ("document",),
    "advising": ("advise",),
    "comparing": ("compare",),
}


class InterruptedCommandError(Exception):
    """Ctrl-C, told apart from what typer itself makes of a KeyboardInterrupt (silence)."""


class _Commands(TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        """Runs one command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise InterruptedCommandError from error


def program(first_argument: str | None = None) -> TyperGroup:
    """The program; where the first argument names a command, with that one alone.

    Args:
        first_argument: what stands after `segduet`; None, or no command: all of them.
    """
    modules = [name for name, commands in COMMANDS.items() if first_argument in commands]
    app = typer.Typer(
        name="segduet",
        cls=_Commands,
        help="One network, two answers: segments a medical image and classifies the case.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for name in modules or COMMANDS:
        importlib.import_module(f"segduet.cli.{name}").register(app)
    if modules:
        own = [info for info in app.registered_commands if _name(info) == first_argument]
        app.registered_commands = own
    return typer.main.get_group(app)


def _name(info: CommandInfo) -> str:
    assert info.callback is not None
    return info.name or info.callback.__name__
