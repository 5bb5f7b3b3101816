"""`advise`: which metrics suit a dataset."""

from pathlib import Path
from typing import Annotated

import typer

from segduet.cli.display import print_result, print_table
from segduet.cli.options import (
    DataRootOption,
    JsonOption,
    WorkersOption,
    data_root,
    num_workers,
)

_VERDICTS = {"look": "look at", "careful": "be careful with", "uninformative": "leave out"}


def register(app: typer.Typer) -> None:
    """Adds this group's command."""
    app.command()(advise)


def advise(
    dataset: Annotated[
        str,
        typer.Argument(
            help="Dataset by name or number, or a folder with dataset.json, cases.csv and masks.",
            metavar="DATASET",
        ),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for advice.json and the manifest.")
    ] = None,
    root: DataRootOption = None,
    workers: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say which metrics to look at on a dataset and which mislead there, with the reason."""
    from segduet.workflows.advising import advise as run

    outcome = run(data_root(root), dataset, out=out, workers=num_workers(workers)).outcome
    if as_json:
        print_result(outcome, [], as_json=True)
        return
    print_table(
        f"{outcome['dataset']}: which metrics to look at",
        ("about", "advice", "because"),
        [
            (
                piece["subject"],
                " ".join([_VERDICTS[piece["verdict"]], ", ".join(piece["metrics"]) or "all"]),
                f"{piece['why']} [{piece['source']}]",
            )
            for piece in outcome["advice"]
        ],
    )
