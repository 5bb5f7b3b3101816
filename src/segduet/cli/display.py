"""What a person sees: progress while something runs, tables and results when it is done."""

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

#: Without a terminal a progress line is printed at most this often.
PLAIN_INTERVAL_S = 10.0


def print_result(result: Mapping[str, Any], lines: Sequence[str], *, as_json: bool) -> None:
    """Prints the result for a machine, or the lines for a person."""
    text = json.dumps(result, indent=2, allow_nan=False) if as_json else "\n".join(lines)
    sys.stdout.write(text + "\n")


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints a table, fitted to the terminal."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)


def duration(seconds: float) -> str:
    """Seconds as a person says them: 48 s, 3 min 05 s, 2 h 07 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


@contextlib.contextmanager
def progress(*, quiet: bool) -> Iterator[Callable[[str, float], None]]:
    """Yields `show(text, share)`: a bar on a terminal, else a plain line every ten seconds.

    Written to standard error, so that `--json` on standard output stays clean.

    Args:
        quiet: show nothing.
    """
    if quiet:
        yield _say_nothing
    elif sys.stderr.isatty():
        with _bar() as show:
            yield show
    else:
        yield _PlainLines().show


@contextlib.contextmanager
def _bar() -> Iterator[Callable[[str, float], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (BarColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda text, share: bar.update(task, description=text, completed=share)


def _say_nothing(_text: str, _share: float) -> None:
    return


class _PlainLines:
    """Lines for a log file: at every new stage, at the end, and every ten seconds between."""

    def __init__(self) -> None:
        self._printed_at = float("-inf")
        self._stage = ""

    def show(self, text: str, share: float) -> None:
        """Prints the line if it is due."""
        stage = text.partition(":")[0]
        now = time.monotonic()
        if stage != self._stage or share >= 1 or now - self._printed_at >= PLAIN_INTERVAL_S:
            sys.stderr.write(f"{share:4.0%} {text}\n")
            self._printed_at, self._stage = now, stage
