"""`demo` and `info`."""

from pathlib import Path
from typing import Annotated

import typer

from segduet.cli.display import duration, print_result, progress
from segduet.cli.options import DataRootOption, JsonOption, data_root


def register(app: typer.Typer) -> None:
    """Adds this group's commands."""
    app.command()(demo)
    app.command()(info)


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for everything.")] = Path(
        "segduet-demo"
    ),
    ultrasound: Annotated[
        bool, typer.Option("--ultrasound", help="2D nerve phantoms instead of 3D CT.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of data and training.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Run the whole road on phantoms, on the CPU, in minutes."""
    from segduet.cli.answers import summary_lines
    from segduet.workflows.demo import DemoRequest
    from segduet.workflows.demo import demo as run

    with progress(quiet=as_json) as show:
        manifest = run(DemoRequest(out=out, is_ultrasound=ultrasound, seed=seed), show)
    outcome = manifest.outcome
    lines = [
        *summary_lines(outcome["summary"]),
        f"done in {duration(manifest.seconds)}; open {outcome['report']}",
    ]
    print_result(outcome, lines, as_json=as_json)


def info(
    model: Annotated[
        Path | None, typer.Argument(help="Model folder; default: this installation.")
    ] = None,
    root: DataRootOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show versions, devices, recipes and folders; or a model's record, without unpickling."""
    from segduet.workflows.information import describe_installation, describe_model

    outcome = describe_model(model) if model else describe_installation(data_root(root))
    lines = [f"{key}: {value}" for key, value in outcome.items()]
    print_result(outcome, lines, as_json=as_json)
