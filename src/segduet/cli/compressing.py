"""`prune`, `gate`: smaller models, and whether they answer as well."""

from pathlib import Path
from typing import Annotated

import typer

from segduet.cli.display import duration, print_result, progress
from segduet.cli.options import (
    DataRootOption,
    EngineChoice,
    JsonOption,
    PrecisionChoice,
    data_root,
)


def register(app: typer.Typer) -> None:
    """Adds this group's commands."""
    app.command()(prune)
    app.command()(gate)


def prune(
    model: Annotated[Path, typer.Argument(help="Model folder, ours or stock nnU-Net's.")],
    keep: Annotated[float, typer.Option(help="Share of every layer's channels that stays.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the pruned model folder.")],
    as_json: JsonOption = False,
) -> None:
    """Keep only the strongest channels of a model; train it on afterwards, and let `gate` judge."""
    from segduet.workflows.pruning import PruneRequest
    from segduet.workflows.pruning import prune as run

    request = PruneRequest(model=model, keep=keep, out=out)
    with progress(quiet=as_json) as show:
        manifest = run(request, lambda text: show(text, 0.0))
    outcome = manifest.outcome
    lines = [f"{outcome['written']} in {duration(manifest.seconds)}"]
    for fold, cost in outcome["folds"].items():
        before, after = cost["before"], cost["after"]
        shares = {name: after[name] / before[name] for name in before}
        lines.append(
            f"fold {fold}: {before['parameters']:,} -> {after['parameters']:,} parameters "
            f"({shares['parameters']:.0%}), multiply-adds of a window {shares['multiply_adds']:.0%}"
        )
        weights = f"{outcome['written']}/fold_{fold}/model.safetensors"
        lines.append(
            f"train on, with the model's recipe: segduet train DATASET -f {fold} "
            f"--pretrained {weights} --set network.width_factor={outcome['width_factor']:g}"
        )
    print_result(outcome, lines, as_json=as_json)


def gate(
    reference: Annotated[Path, typer.Argument(help="Model that is to be replaced.")],
    candidate: Annotated[
        Path, typer.Argument(help="Smaller or faster model; or the same, with --precision.")
    ],
    cases: Annotated[
        str,
        typer.Option(
            help="Dataset whose validation cases judge, or folder of images that no model was "
            "fitted to.",
            metavar="DATASET|FOLDER",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the gate's report.")],
    engine: Annotated[
        EngineChoice, typer.Option(help="What runs the candidate.")
    ] = EngineChoice.AUTO,
    precision: Annotated[
        PrecisionChoice, typer.Option(help="Number format of the candidate.")
    ] = PrecisionChoice.AUTO,
    max_dsc_loss: Annotated[
        float, typer.Option(min=0, max=1, help="Fall of a region's mean DSC that is accepted.")
    ] = 0.005,
    max_f1_loss: Annotated[
        float, typer.Option(min=0, max=1, help="Fall of a task's macro-F1 that is accepted.")
    ] = 0.02,
    min_dice: Annotated[
        float, typer.Option(min=0, max=1, help="Least Dice with the masks of the reference.")
    ] = 0.99,
    min_agreement: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Least share of equal answers where nobody knows the class."
        ),
    ] = 0.98,
    root: DataRootOption = None,
    as_json: JsonOption = False,
) -> None:
    """Judge whether a model may replace another; refuses with exit code 2 and names what flips."""
    from segduet.evaluation.gate_report import GateBounds
    from segduet.workflows.compression_gate import gate_lines, require_passed
    from segduet.workflows.gating import GateRequest
    from segduet.workflows.gating import gate as run

    request = GateRequest(
        reference=reference,
        candidate=candidate,
        cases=cases,
        root=data_root(root),
        out=out,
        bounds=GateBounds(
            max_dsc_loss=max_dsc_loss,
            max_macro_f1_loss=max_f1_loss,
            min_dice=min_dice,
            min_agreement=min_agreement,
        ),
        engine=engine.value,
        precision=precision.value,
    )
    with progress(quiet=as_json) as show:
        report = run(request, lambda text: show(text, 0.0))
    print_result(report.model_dump(mode="json"), list(gate_lines(report)), as_json=as_json)
    require_passed(report)
