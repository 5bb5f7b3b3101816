"""`report`: a page people like to read."""

from pathlib import Path
from typing import Annotated

import typer

from segduet.cli.display import print_result
from segduet.cli.options import DataRootOption, JsonOption, data_root


def register(app: typer.Typer) -> None:
    """Adds this group's command."""
    app.command()(report)


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="Run folder and/or evaluation folder, with a folder of advice if you like; "
            "or one folder of `compare`.",
            metavar="RUN...",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The page.")] = Path("report.html"),
    pictures: Annotated[
        str, typer.Option(help="Cases with pictures in the table.", metavar="all|none|worst:N")
    ] = "worst:500",
    viewer: Annotated[
        str,
        typer.Option(
            help="Cases whose volumes are put into the page, for its viewer.",
            metavar="all|none|worst:N",
        ),
    ] = "none",
    anonymous: Annotated[
        bool, typer.Option("--anonymous", help="Number the cases and name no files.")
    ] = False,
    root: DataRootOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write one self-contained HTML page, and the training summary as text."""
    from segduet.workflows.reporting import ReportOptions
    from segduet.workflows.reporting import report as run

    options = ReportOptions(pictures=pictures, viewer=viewer, is_anonymous=anonymous)
    manifest = run(data_root(root), runs, out, options)
    lines = [f"written: {path}" for path in manifest.outcome["written"]]
    lines += [f"note: {warning}" for warning in manifest.warnings]
    print_result(manifest.outcome, lines, as_json=as_json)
