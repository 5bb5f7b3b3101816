"""`train`."""

import logging
import os
from enum import StrEnum
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


class JoinedEncoder(StrEnum):
    """The two donors of a joined network."""

    SEGMENTATION = "segmentation"
    CLASSIFICATION = "classification"


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
    pretrained_classifier: Annotated[
        Path | None,
        typer.Option(help="A classifier trained apart, joined with the segmenter --pretrained."),
    ] = None,
    shared_encoder_from: Annotated[
        JoinedEncoder | None,
        typer.Option(help="Whose encoder a network with a single one takes when two are joined."),
    ] = None,
    previous_stage: Annotated[
        str | None, typer.Option(help="Of a cascade: --name of the first stage's training.")
    ] = None,
    thermal_guard: Annotated[
        bool,
        typer.Option(
            "--thermal-guard", help="Pause while too hot; same as --set thermal.enabled=true."
        ),
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where it stopped.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Start anew.")] = False,
    workers: Annotated[int, typer.Option(min=0, help="Processes that make patches.")] = 1,
    plans: PlansOption = None,
    root: DataRootOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train one joint model of one fold; over several processes by torchrun -m segduet train."""
    from segduet.training.launch import Launch
    from segduet.training.recipe_files import load_recipe
    from segduet.workflows.train_request import TrainRequest
    from segduet.workflows.training import train as run

    launch = Launch.of(os.environ)
    changes = list(change or [])
    changes += [f"epochs={epochs}"] if epochs else []
    changes += [f"precision={precision}"] if precision else []
    changes += ["thermal.enabled=true"] if thermal_guard else []
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
        pretrained_classifier=pretrained_classifier,
        shared_encoder_from=shared_encoder_from.value if shared_encoder_from else None,
        previous_stage=previous_stage,
        resume=resume,
        overwrite=overwrite,
        launch=launch,
    )
    if not launch.is_first:  # what all of them would say, the first one says
        logging.getLogger("segduet").setLevel(logging.ERROR)
    with progress(quiet=as_json or not launch.is_first) as show:
        manifest = run(data_root(root), request, lambda p: show(p.line, p.share))
    lines = [f"model in {manifest.outcome['run_folder']} after {duration(manifest.seconds)}"]
    lines += [f"note: {warning}" for warning in manifest.warnings]
    if launch.is_first:
        print_result(manifest.outcome, lines, as_json=as_json)
