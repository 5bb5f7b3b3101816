"""`predict`, `evaluate`, `report`, `package`: from images to answers a person can judge."""

from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from segduet.cli.display import duration, print_result, progress
from segduet.cli.options import (
    DataRootOption,
    JsonOption,
    WorkersOption,
    data_root,
    num_workers,
    split_names,
)
from segduet.metrics.declared import headline_metric

FAILED_CASES = 2


class AggregationRule(StrEnum):
    """Rules by which windows answer for their case."""

    CASE = "case"
    EVIDENCE = "evidence"
    MEAN = "mean"
    MAX = "max"


class CheckpointChoice(StrEnum):
    """Which of a training's models answer."""

    FINAL = "final"
    ALL = "all"


class EngineChoice(StrEnum):
    """What can run a network."""

    AUTO = "auto"
    TORCH = "torch"
    OPENVINO = "openvino"
    ONNX = "onnx"
    TENSORRT = "tensorrt"


class PrecisionChoice(StrEnum):
    """Number formats a network can be run in."""

    AUTO = "auto"
    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"
    INT8 = "int8"


class ModeChoice(StrEnum):
    """Whether shortcuts may be taken."""

    EXACT = "exact"
    FAST = "fast"


class EnsembleMean(StrEnum):
    """How the probabilities of several models are averaged."""

    ARITHMETIC = "arithmetic"
    GEOMETRIC = "geometric"


class PackageKind(StrEnum):
    """Archives that can be written or checked."""

    QUIZ = "quiz"
    CHECK = "check"


def register(app: typer.Typer) -> None:
    """Adds this group's commands."""
    app.command()(predict)
    app.command()(evaluate)
    app.command()(report)
    app.command()(package)


def predict(
    model: Annotated[
        Path, typer.Argument(help="Model folder, ours or stock nnU-Net's; or a bundle.")
    ],
    inputs: Annotated[
        list[Path], typer.Argument(help="Folder of images, or image files.", metavar="INPUT...")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the answers.")],
    folds: Annotated[
        str | None, typer.Option(help="Folds to average, comma separated; default: all.")
    ] = None,
    checkpoints: Annotated[
        CheckpointChoice, typer.Option(help="all: average the models kept on the way as well.")
    ] = CheckpointChoice.FINAL,
    mode: Annotated[
        ModeChoice, typer.Option(help="exact: nnU-Net's own answer; fast: shortcuts.")
    ] = ModeChoice.EXACT,
    tta: Annotated[
        bool | None,
        typer.Option("--tta/--no-tta", help="Mirror.", show_default="yes if exact"),
    ] = None,
    body_crop: Annotated[
        bool | None,
        typer.Option(
            "--body-crop/--no-body-crop",
            help="Look at the body of a CT only (fast only).",
            show_default="yes if the plan says CT",
        ),
    ] = None,
    coarse: Annotated[
        str | None,
        typer.Option(
            help="Model of low resolution that finds the region to look at (fast only); "
            "off: none, where a bundle holds one.",
            metavar="MODEL|off",
        ),
    ] = None,
    step: Annotated[float, typer.Option(help="Window distance as a share of the patch.")] = 0.5,
    aggregation: Annotated[
        AggregationRule, typer.Option(help="How windows answer for their case.")
    ] = AggregationRule.CASE,
    engine: Annotated[
        EngineChoice, typer.Option(help="What runs the network; auto says what it took, and why.")
    ] = EngineChoice.AUTO,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    precision: Annotated[
        PrecisionChoice, typer.Option(help="Number format of the network; auto: fp32 if exact.")
    ] = PrecisionChoice.AUTO,
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="Threads of the network on a CPU.", show_default="the engine's"),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(
            help="Folder for converted networks. "
            "[default: .segduet in the model folder, else the user's cache folder]",
            show_default=False,
        ),
    ] = None,
    features: Annotated[
        bool, typer.Option("--features", help="Also write what the heads read, for a probe.")
    ] = False,
    attention: Annotated[
        bool, typer.Option("--attention", help="Also write where the heads looked, as images.")
    ] = False,
    also: Annotated[
        list[Path] | None,
        typer.Option(help="One more model that answers together with the first; repeatable."),
    ] = None,
    ensemble: Annotated[
        EnsembleMean | None,
        typer.Option(help="Mean of several models' probabilities.", show_default="arithmetic"),
    ] = None,
    cleanup: Annotated[
        Path | None, typer.Option(help="Plan of `cleanup learn` that mends the label maps.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Segment and classify every case of a folder."""
    from segduet.inference.aggregation import Aggregation
    from segduet.inference.ensembles import EnsembleRule
    from segduet.workflows.load_request import LoadRequest
    from segduet.workflows.prediction import PredictRequest
    from segduet.workflows.prediction import predict as run

    loading = LoadRequest(
        model=model,
        folds=split_names(folds),
        checkpoints=checkpoints.value,
        engine=engine.value,
        device=device,
        precision=precision.value,
        threads=threads,
        cache=cache,
        mode=mode.value,
        mirrored=tta,
        body_crop=body_crop,
        coarse=coarse,
        step=step,
        aggregation=Aggregation(aggregation.value),
        keep_attention=attention,
    )
    request = PredictRequest(
        loading=loading,
        inputs=inputs,
        out=out,
        keep_features=features,
        also=also or (),
        ensemble=EnsembleRule(ensemble.value) if ensemble else None,
        cleanup=cleanup,
    )
    with progress(quiet=as_json) as show:
        manifest = run(
            request,
            lambda done, total, case: show(f"predict: {case}", done / total),
            lambda text: show(text, 0.0),
        )
    outcome = manifest.outcome
    lines = [f"{outcome['cases']} cases in {duration(manifest.seconds)}, answers in {out}"]
    lines.append(engine_line(outcome["engine"]))
    lines += region_lines(outcome["regions"])
    lines += [f"failed: {case}: {message}" for case, message in outcome["failed"].items()]
    print_result(outcome, lines, as_json=as_json)
    if outcome["failed"]:
        raise typer.Exit(FAILED_CASES)


def engine_line(engine: Mapping[str, Any]) -> str:
    """What ran the network, and why, for a person.

    Args:
        engine: as in the manifest of `predict`.
    """
    return f"engine: {engine['name']}, {engine['device']}, {engine['precision']}: {engine['why']}"


def region_lines(regions: Mapping[str, Any]) -> list[str]:
    """In which part of their images cases were predicted, and what had to be given up.

    Args:
        regions: as in the manifest of `predict`; empty where no region was searched for.
    """
    if not regions:
        return []
    found = Counter(str(region["found_by"]) for region in regions.values())
    counts = ", ".join(f"{found_by} {n}" for found_by, n in sorted(found.items()))
    notes = Counter(note for region in regions.values() for note in region["notes"])
    return [
        f"looked at: {counts}",
        *(f"  {n} cases: {note}" for note, n in notes.most_common()),
    ]


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
    nsd_tolerance_mm: Annotated[
        float, typer.Option(help="Surfaces this near count as the same in NSD.")
    ] = 2.0,
    selected_from: Annotated[
        int, typer.Option(min=1, help="Candidates the model was chosen from on these cases.")
    ] = 1,
    seed: Annotated[int, typer.Option(help="Seed of the intervals' resampling.")] = 0,
    root: DataRootOption = None,
    workers: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score predictions on full cases: DSC per region, macro-F1, intervals, baselines, targets."""
    from segduet.core.cases import parse_split
    from segduet.workflows.evaluation import EvaluateRequest
    from segduet.workflows.evaluation import evaluate as run

    request = EvaluateRequest(
        reference=reference,
        predictions=predictions,
        out=out,
        split=parse_split(split, where="--split") if split else None,
        fold=fold,
        targets=targets,
        classes_only=classes_only,
        nsd_tolerance_mm=nsd_tolerance_mm,
        seed=seed,
        selected_from=selected_from,
        workers=num_workers(workers),
    )
    manifest = run(data_root(root), request)
    lines = [*summary_lines(manifest.outcome), *(f"note: {w}" for w in manifest.warnings)]
    print_result(manifest.outcome, lines, as_json=as_json)


def summary_lines(summary: Any) -> list[str]:
    """The main figures of a `summary.json`, one line each.

    Args:
        summary: its content.
    """
    lines = [f"{summary['n_cases']} cases"]
    for region, metrics in summary["segmentation"].items():
        lines.append(f"  DSC {region}: {_figure(metrics['dsc'], 'mean')}")
    for task, metrics in summary["classification"].items():
        lines.append(f"  {_headline(metrics, task)}")
    for name, baseline in summary["baselines"].items():
        for task, metrics in baseline["classification"].items():
            lines.append(f"    {name} baseline {_headline(metrics, task, with_label=False)}")
    for row in summary["targets"]:
        value = "" if row["value"] is None else f" ({row['value']:.3f} for {row['threshold']:g})"
        lines.append(f"  target {row['name']}: {row['status']}{value}")
    return lines


def _headline(metrics: Any, task: str, *, with_label: bool = True) -> str:
    metric = headline_metric(metrics)
    label = f"{metric.label} {task}" if with_label else task
    return f"{label}: {_figure(metrics[metric.name], 'value')}"


def _figure(figure: Any, key: str) -> str:
    if figure[key] is None:
        return f"not measured: {figure['reason']}"
    interval = figure["ci95"]
    limits = f"95 % interval {interval[0]:.3f}-{interval[1]:.3f}" if interval else "no interval"
    unit = f" {figure['unit']}" if figure.get("unit") else ""
    return f"{figure[key]:.3f}{unit} ({limits}, n = {figure['n']})"


def report(
    runs: Annotated[
        list[Path], typer.Argument(help="Run folder and/or evaluation folder.", metavar="RUN...")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The page.")] = Path("report.html"),
    root: DataRootOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write one self-contained HTML page, and the training summary as text."""
    from segduet.workflows.reporting import report as run

    outcome = run(data_root(root), runs, out).outcome
    print_result(outcome, [f"written: {path}" for path in outcome["written"]], as_json=as_json)


def package(
    kind: Annotated[PackageKind, typer.Argument(help="quiz: write; check: examine an archive.")],
    source: Annotated[Path, typer.Argument(help="Predictions, or the archive to check.")],
    images: Annotated[Path, typer.Option(help="Folder of the test images.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Archive to write [quiz only].")
    ] = None,
    task: Annotated[str, typer.Option(help="Task whose answer is submitted.")] = "subtype",
    as_json: JsonOption = False,
) -> None:
    """Write the quiz submission, or name every fault of one."""
    from segduet.workflows.packaging import check_quiz_package, write_quiz_package

    if kind is PackageKind.QUIZ:
        outcome = write_quiz_package(source, images, out or Path("results.zip"), task).outcome
        lines = [f"{outcome['cases']} cases in {outcome['archive']}"]
        print_result(outcome, lines, as_json=as_json)
        return
    outcome = check_quiz_package(source, images)
    lines = [f"{f['where']}: {f['kind']}: {f['message']}" for f in outcome["faults"]]
    print_result(outcome, lines or ["no faults"], as_json=as_json)
    if lines:
        raise typer.Exit(3)
