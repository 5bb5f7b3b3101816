"""`evaluate`: how good are the answers?"""

from pathlib import Path
from typing import Annotated

import typer

from segduet.cli.display import print_result
from segduet.cli.idle_options import refuse_idle
from segduet.cli.options import DataRootOption, JsonOption, WorkersOption, data_root, num_workers
from segduet.cli.summary_text import summary_lines
from segduet.core.seeds import LARGEST_SEED


def evaluate(
    reference: Annotated[str, typer.Option(help="Dataset, or a folder of references.")],
    predictions: Annotated[Path, typer.Option(help="Folder that `predict` wrote.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the scores.")],
    split: Annotated[str | None, typer.Option(help="Score this split only.")] = None,
    fold: Annotated[
        str | None, typer.Option("--fold", "-f", help="Score this fold's validation cases only.")
    ] = None,
    targets: Annotated[str | None, typer.Option(help="Track name or targets file.")] = None,
    classes_only: Annotated[
        bool, typer.Option("--classes-only", help="Score no masks: the model only classifies.")
    ] = False,
    overlap_only: Annotated[
        bool, typer.Option("--overlap-only", help="Of masks overlaps and volumes only: faster.")
    ] = False,
    nsd_tolerance_mm: Annotated[
        float | None,
        typer.Option(help="Surfaces this near count as the same in NSD; 2 where not given."),
    ] = None,
    selected_from: Annotated[
        int, typer.Option(min=1, help="Candidates the model was chosen from on these cases.")
    ] = 1,
    by: Annotated[
        list[str] | None,
        typer.Option(
            help="Also by group: a column of cases.csv such as site, class, volume or "
            "volume:REGION; repeat."
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=LARGEST_SEED, help="Seed of the intervals' resampling.")
    ] = 0,
    root: DataRootOption = None,
    workers: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score predictions on full cases: DSC per region, macro-F1, intervals, baselines, targets."""
    from segduet.core.cases import parse_split
    from segduet.workflows.evaluation import NSD_TOLERANCE_MM, EvaluateRequest
    from segduet.workflows.evaluation import evaluate as run

    if overlap_only or classes_only:
        combination = "with --overlap-only" if overlap_only else "with --classes-only"
        refuse_idle("evaluate", {"--nsd-tolerance-mm": nsd_tolerance_mm}, combination)
    request = EvaluateRequest(
        reference=reference,
        predictions=predictions,
        out=out,
        split=parse_split(split, where="--split") if split else None,
        fold=fold,
        targets=targets,
        classes_only=classes_only,
        overlap_only=overlap_only,
        nsd_tolerance_mm=NSD_TOLERANCE_MM if nsd_tolerance_mm is None else nsd_tolerance_mm,
        seed=seed,
        selected_from=selected_from,
        by=by or (),
        workers=num_workers(workers),
    )
    manifest = run(data_root(root), request)
    lines = [*summary_lines(manifest.outcome), *(f"note: {w}" for w in manifest.warnings)]
    print_result(manifest.outcome, lines, as_json=as_json)
