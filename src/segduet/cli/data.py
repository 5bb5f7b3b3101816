"""`import`, `check`, `plan`, `preprocess`: from a user's folder to prepared cases."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from segduet.cli.display import print_result, print_table, progress
from segduet.cli.options import (
    DataRootOption,
    DatasetArgument,
    JsonOption,
    PlansOption,
    WorkersOption,
    data_root,
    num_workers,
)
from segduet.core.seeds import LARGEST_SEED

FINDINGS = 3


class Layout(StrEnum):
    """Layouts that can be imported."""

    QUIZ = "quiz"
    TABLE = "table"
    MSD = "msd"
    NERVE = "nerve"
    NNUNET = "nnunet"


class LabelRelation(StrEnum):
    """How several labels relate to one another."""

    PLAIN = "plain"
    NESTED = "nested"


class PlannerName(StrEnum):
    """Planners that can be chosen."""

    PLAIN = "plain"
    RESENC_M = "resenc-m"
    RESENC_L = "resenc-l"
    RESENC_XL = "resenc-xl"
    SMALL = "small"


def register(app: typer.Typer) -> None:
    """Adds this group's commands."""
    app.command("import")(import_)
    app.command()(check)
    app.command()(plan)
    app.command()(preprocess)


def import_(
    layout: Annotated[Layout, typer.Argument(help="How the folder is laid out.")],
    source: Annotated[Path, typer.Argument(help="The user's folder.", metavar="SRC")],
    name: Annotated[str, typer.Option("--name", help="Short name, or DatasetNNN_Name.")],
    channels: Annotated[
        str | None, typer.Option(help="Channel names in order, comma separated; CT matters.")
    ] = None,
    class_column: Annotated[str, typer.Option(help="Column that holds the class.")] = "class",
    classes: Annotated[str | None, typer.Option(help="Class names in order.")] = None,
    task: Annotated[
        list[str] | None,
        typer.Option(
            help="Column with answers of any kind, once per column: NAME:KIND:CLASS,CLASS (binary, "
            "multiclass, multilabel, ordinal) or NAME:regression:UNIT.",
        ),
    ] = None,
    label_names: Annotated[str | None, typer.Option(help="Foreground label names.")] = None,
    label_values: Annotated[str | None, typer.Option(help="Their values in the masks.")] = None,
    regions: Annotated[
        LabelRelation | None,
        typer.Option(help="Whether labels exclude one another or each lies in the one before."),
    ] = None,
    labels_table: Annotated[
        Path | None, typer.Option(help="Table of classes, where the layout has none.")
    ] = None,
    allow_missing_masks: Annotated[
        bool,
        typer.Option(
            "--allow-missing-masks", help="Take cases without a mask, to teach their class alone."
        ),
    ] = False,
    root: DataRootOption = None,
    workers: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Turn a user's folder into an nnU-Net raw dataset with a case table."""
    from segduet.workflows.importing import ImportRequest, import_dataset

    request = ImportRequest(
        layout=layout.value,
        source=source,
        name=name,
        channel_names=_split(channels),
        class_column=class_column,
        classes=_split(classes),
        tasks=tuple(task or ()),
        label_names=_split(label_names),
        label_values=_split(label_values),
        labels_table=labels_table,
        region_mode=regions.value if regions else None,
        allow_missing_masks=allow_missing_masks,
        workers=num_workers(workers),
    )
    outcome = import_dataset(data_root(root), request).outcome
    lines = [
        f"{outcome['dataset']}: {outcome['num_training']} cases to train on, "
        f"{outcome['num_test']} test cases in {outcome['folder']}",
        *(f"  {task}: {counts}" for task, counts in outcome["class_counts"].items()),
        f"  without a mask: {outcome['num_unlabelled']}",
        f"  repaired masks: {outcome['masks_changed']} (import-audit.json)",
    ]
    print_result(outcome, lines, as_json=as_json)


def _split(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",")) if text else ()


def check(
    dataset: DatasetArgument,
    no_duplicates: Annotated[
        bool, typer.Option("--no-duplicates", help="Do not compare images with one another.")
    ] = False,
    root: DataRootOption = None,
    workers: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look for damaged files, wrong geometry or labels, and leaks; exit 3 on errors or warnings."""
    from segduet.workflows.checking import check as run

    manifest = run(
        data_root(root), dataset, workers=num_workers(workers), compares_images=not no_duplicates
    )
    findings = manifest.outcome["findings"]
    if as_json:
        print_result(manifest.outcome, [], as_json=True)
    else:
        rows = [[f["severity"], f["kind"], f["case"], f["message"]] for f in findings]
        if rows:
            print_table(f"{dataset}", ["severity", "kind", "case", "what was found"], rows)
        print_result({}, manifest.outcome["lines"], as_json=False)
    if any(f["severity"] != "note" for f in findings):
        raise typer.Exit(FINDINGS)


def plan(
    dataset: DatasetArgument,
    planner: Annotated[PlannerName, typer.Option(help="Network and memory budget.")] = (
        PlannerName.PLAIN
    ),
    memory_gb: Annotated[float | None, typer.Option(help="GPU memory to plan for.")] = None,
    folds: Annotated[
        int | None, typer.Option(min=2, help="Folds; default: the split that came with the data.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="Seed of the folds.")] = 0,
    hold_out_validation: Annotated[
        bool,
        typer.Option("--hold-out-validation", help="Keep validation cases out of the fingerprint."),
    ] = False,
    coarse: Annotated[
        bool,
        typer.Option(
            "--coarse", help="Add 3d_coarse, which finds the region for predict --mode fast."
        ),
    ] = False,
    root: DataRootOption = None,
    workers: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take the fingerprint of a dataset, plan its networks and make its folds."""
    from segduet.workflows.preparing import PlanRequest
    from segduet.workflows.preparing import plan as run

    request = PlanRequest(
        dataset=dataset,
        planner=planner.value,
        memory_gb=memory_gb,
        num_folds=folds,
        seed=seed,
        coarse=coarse,
        hold_out_validation=hold_out_validation,
        workers=num_workers(workers),
    )
    outcome = run(data_root(root), request).outcome
    lines = [f"{outcome['plans']}: folds {outcome['folds']}"]
    lines += [
        f"  {name}: patch {c['patch_size']}, spacing {c['spacing_mm']} mm, batch {c['batch_size']}"
        for name, c in outcome["configurations"].items()
    ]
    print_result(outcome, lines, as_json=as_json)


def preprocess(
    dataset: DatasetArgument,
    configuration: Annotated[
        str, typer.Option("--configuration", "-c", help="2d, 3d_fullres, ...")
    ] = "3d_fullres",
    plans: PlansOption = None,
    root: DataRootOption = None,
    workers: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Crop, normalise and resample every case into nnU-Net's own format; resumable."""
    from segduet.workflows.preparing import preprocess as run

    with progress(quiet=as_json) as show:
        manifest = run(
            data_root(root),
            dataset,
            configuration,
            plans=plans,
            workers=num_workers(workers),
            on_case=lambda done, total, case: show(f"preprocess: {case}", done / total),
        )
    outcome = manifest.outcome
    print_result(outcome, [f"{outcome['cases']} cases in {outcome['folder']}"], as_json=as_json)
