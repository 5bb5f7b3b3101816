"""`demo` and `info`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from segduet.cli.display import duration, print_result, progress
from segduet.cli.options import DataRootOption, JsonOption, data_root
from segduet.cli.summary_text import summary_lines
from segduet.core.seeds import LARGEST_SEED
from segduet.reporting.wording import figure_text, interval_text

#: What a bundle may hold beside its networks.
_BUNDLE_PARTS = ("gate", "calibration", "coarse")


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
    seed: Annotated[
        int, typer.Option(min=0, max=LARGEST_SEED, help="Seed of data and training.")
    ] = 0,
    as_json: JsonOption = False,
) -> None:
    """Run the whole road on phantoms, on the CPU, in minutes."""
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
        Path | None,
        typer.Argument(help="Model folder, checkpoint or bundle; default: this installation."),
    ] = None,
    root: DataRootOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show versions, cores, recipes and folders; or a model's record, without unpickling."""
    from segduet.inference.bundles.opening import is_bundle
    from segduet.workflows.checkpoint_information import describe_checkpoint
    from segduet.workflows.information import (
        describe_bundle,
        describe_installation,
        describe_model,
    )

    if model is None:
        outcome = describe_installation(data_root(root))
        print_result(outcome, [f"{k}: {v}" for k, v in outcome.items()], as_json=as_json)
        return
    if model.suffix == ".safetensors":
        outcome = describe_checkpoint(model)
        print_result(outcome, checkpoint_lines(outcome), as_json=as_json)
        return
    if is_bundle(model):
        outcome = describe_bundle(model)
        print_result(outcome, bundle_lines(outcome), as_json=as_json)
        return
    outcome = describe_model(model)
    lines = [line for name, record in outcome.items() for line in record_lines(name, record)]
    print_result(outcome, lines, as_json=as_json)


def checkpoint_lines(checkpoint: Mapping[str, Any]) -> list[str]:
    """A checkpoint in a few lines: its epoch, that epoch's figures, the F1 of every class (F94).

    Args:
        checkpoint: what `describe_checkpoint` says about it.
    """
    epoch = checkpoint["epoch"]
    metrics = checkpoint["metrics"] or {"metrics": "not measured"}
    return [
        f"{checkpoint['file']}: {checkpoint['format']}, {checkpoint['epochs_done']} epochs done, "
        f"weights of epoch {'not recorded' if epoch is None else epoch}",
        *(f"  {k}: {v if isinstance(v, str) else format(v, '.4f')}" for k, v in metrics.items()),
        *_validation_lines(checkpoint["validation"]),
    ]


def _validation_lines(validation: Any) -> list[str]:
    """The main figures and the F1 of every class; or that nothing was measured."""
    if isinstance(validation, str):
        return [f"  validation: {validation}"]
    lines = [line.strip() for line in summary_lines(validation)]
    for task, measured in validation["classification"].items():
        lines += [
            f"F1 of {task} {name}: {figure_text(figure)} ({interval_text(figure)})"
            for name, figure in measured.get("f1_by_class", {}).items()
        ]
    return [f"  validation: {line}" for line in lines]


def bundle_lines(manifest: Mapping[str, Any]) -> list[str]:
    """A bundle in a few lines: where it comes from, its networks, what else it holds.

    Args:
        manifest: what `describe_bundle` says about it.
    """
    size = sum(record["bytes"] for record in manifest["files"].values())
    lines = [
        f"bundle of {manifest['source']['folder']}, {manifest['configuration']}, made by segduet "
        f"{manifest['segduet']} at {manifest['created']}"
    ]
    for member in manifest["members"]:
        network = member["network"]
        answers = ["masks"] * network["with_masks"] + [task["name"] for task in network["tasks"]]
        trainable = ", with the weights to train on" if member["weights"] else ""
        lines.append(
            f"  network {member['name']}: {network['format']}, {network['stored_precision']}, "
            f"answers {' and '.join(answers)}{trainable}"
        )
    return [
        *lines,
        *(f"  {part}: {'yes' if manifest[part] else 'none'}" for part in _BUNDLE_PARTS),
        f"  {len(manifest['files'])} files, {size / 1e6:.1f} MB, every hash checked",
    ]


def record_lines(name: str, record: Mapping[str, Any]) -> list[str]:
    """One run in a few lines: what was trained, its last epoch, its validation.

    Args:
        name: of the run folder.
        record: what `describe_model` says about it.
    """
    recipe, seconds = record["recipe"], record["seconds"]["wall"]
    lines = [
        f"{name}: {record['dataset']}, {record['plans']}, {record['configuration']}, "
        f"recipe {recipe['name']}, seed {record['seed']}, {record['epochs_done']} of "
        f"{recipe['epochs']} epochs in {duration(seconds)}"
    ]
    last = record["last_epoch"]
    if last:
        losses = ", ".join(f"{k} {v:.3f}" for k, v in last["train"].items())
        lines.append(f"  epoch {last['epoch']}: {losses}")
    return [*lines, *_validation_lines(record["validation"])]
