"""`train`."""

from pathlib import Path
from typing import Annotated

import typer

from segduet.cli.display import duration, print_result, progress
from segduet.cli.options import (
    DataRootOption,
    DatasetArgument,
    JsonOption,
    PlansOption,
    data_root,
)


def register(app: typer.Typer) -> None:
    """Adds this group's commands."""
    app.command()(train)


def train(
    dataset: DatasetArgument,
    configuration: Annotated[
        str, typer.Option("--configuration", "-c", help="2d, 3d_fullres, ...")
    ] = "3d_fullres",
    fold: Annotated[str, typer.Option("--fold", "-f", help="Fold number, or all.")] = "0",
    recipe: Annotated[str, typer.Option(help="Named recipe or YAML file.")] = "default",
    change: Annotated[
        list[str] | None, typer.Option("--set", help="Change a setting: key.sub=value.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Same as --set epochs=N.")] = None,
    name: Annotated[str | None, typer.Option(help="First part of the run folder's name.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    precision: Annotated[
        str | None, typer.Option(help="auto, fp32, bf16 or fp16; same as --set precision=...")
    ] = None,
    pretrained: Annotated[
        Path | None, typer.Option(help="Start from these weights: ours, or a stock checkpoint.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where it stopped.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Start anew.")] = False,
    workers: Annotated[int, typer.Option(min=0, help="Processes that make patches.")] = 1,
    plans: PlansOption = None,
    root: DataRootOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train one joint model of one fold."""
    from segduet.training.recipe_files import load_recipe
    from segduet.workflows.training import TrainRequest
    from segduet.workflows.training import train as run

    changes = list(change or [])
    changes += [f"epochs={epochs}"] if epochs else []
    changes += [f"precision={precision}"] if precision else []
    request = TrainRequest(
        dataset=dataset,
        configuration=configuration,
        fold=fold,
        recipe=load_recipe(recipe, changes),
        plans=plans,
        name=name,
        device=device,
        workers=workers,
        pretrained=pretrained,
        resume=resume,
        overwrite=overwrite,
    )
    with progress(quiet=as_json) as show:
        manifest = run(data_root(root), request, lambda p: show(p.line, p.share))
    lines = [f"model in {manifest.outcome['run_folder']} after {duration(manifest.seconds)}"]
    lines += [f"note: {warning}" for warning in manifest.warnings]
    print_result(manifest.outcome, lines, as_json=as_json)
