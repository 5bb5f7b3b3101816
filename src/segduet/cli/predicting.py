"""`predict`: from images to answers."""

from collections import Counter
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from segduet.cli.calibrating import calibration_lines
from segduet.cli.display import duration, print_result, progress
from segduet.cli.idle_options import refuse_idle
from segduet.cli.options import EngineChoice, JsonOption, PrecisionChoice, split_names
from segduet.cli.submitting import AddressOption
from segduet.core.manifest import RunManifest

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


class ModeChoice(StrEnum):
    """Whether shortcuts may be taken."""

    EXACT = "exact"
    FAST = "fast"


class EnsembleMean(StrEnum):
    """How the probabilities of several models are averaged."""

    ARITHMETIC = "arithmetic"
    GEOMETRIC = "geometric"


def predict(
    model: Annotated[
        Path, typer.Argument(help="Model folder, ours or stock nnU-Net's; or a bundle.")
    ],
    inputs: Annotated[
        list[Path],
        typer.Argument(
            help="Folder of images, image files, a .txt list of them, or a .csv table with the "
            "columns case and image.",
            metavar="INPUT...",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the answers.")],
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where an earlier run into --out stopped.")
    ] = False,
    shard: Annotated[
        str,
        typer.Option(
            help="Predict this share of the cases only; --resume without it puts all shares "
            "together.",
            metavar="I/N",
        ),
    ] = "1/1",
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
    fit_windows: Annotated[
        bool | None,
        typer.Option(
            "--fit-windows/--no-fit-windows",
            help="Fit windows to images of about the patch's size instead of padding or tiling "
            "(fast only).",
            show_default="yes where the networks allow it",
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
    calibration: Annotated[
        Path | None,
        typer.Option(
            help="File of `calibrate learn`: calibrated probabilities, sets, abstentions.",
            show_default="the one in a bundle",
        ),
    ] = None,
    alpha: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Share of a class's patients whose set may lack it; one that was learned.",
            show_default="the first",
        ),
    ] = None,
    no_calibration: Annotated[
        bool, typer.Option("--no-calibration", help="Leave out the calibration in a bundle.")
    ] = False,
    ray_workers: Annotated[
        int | None,
        typer.Option(min=1, help="Predict on Ray, by so many workers with a model in memory."),
    ] = None,
    worker_gpus: Annotated[
        float | None,
        typer.Option(min=0, help="GPUs of a Ray worker; 0.5: two share one.", show_default="0"),
    ] = None,
    address: AddressOption = None,
    as_json: JsonOption = False,
) -> None:
    """Segment and classify every case of a folder."""
    from segduet.inference.aggregation import Aggregation
    from segduet.inference.ensembles import EnsembleRule
    from segduet.inference.shards import Shard
    from segduet.workflows.calibrated_prediction import CalibrationChoice
    from segduet.workflows.load_request import LoadRequest
    from segduet.workflows.prediction_request import PredictRequest

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
        fit_windows=fit_windows,
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
        calibration=CalibrationChoice(file=calibration, alpha=alpha, is_off=no_calibration),
        shard=Shard.parse(shard),
        resume=resume,
    )
    run = _predicting(ray_workers, worker_gpus, address)
    with progress(quiet=as_json) as show:
        manifest = run(
            request,
            on_case=lambda done, total, case: show(f"predict: {case}", done / total),
            say=lambda text: show(text, 0.0),
        )
    print_result(manifest.outcome, predicted_lines(manifest, out), as_json=as_json)
    if manifest.outcome["failed"]:
        raise typer.Exit(FAILED_CASES)


def _predicting(
    ray_workers: int | None, worker_gpus: float | None, address: str | None
) -> Callable[..., RunManifest]:
    """Who predicts: this process, or workers on Ray."""
    if ray_workers is None:
        from segduet.workflows.prediction import predict as predict_here

        idle = {"--worker-gpus": worker_gpus, "--address": address}
        refuse_idle("predict", idle, "without --ray-workers")
        return predict_here
    from segduet.workflows.ray_prediction import RayPredictChoice, predict_on_ray

    choice = RayPredictChoice(workers=ray_workers, gpus=worker_gpus or 0, address=address)
    return partial(predict_on_ray, choice=choice)


def predicted_lines(manifest: RunManifest, out: Path) -> list[str]:
    """What was predicted, with what, and what failed, for a person.

    Args:
        manifest: of `predict`.
        out: folder of the answers.
    """
    outcome = manifest.outcome
    return [
        f"{outcome['cases']} cases in {duration(manifest.seconds)}, answers in {out}",
        engine_line(outcome["engine"]),
        *region_lines(outcome["regions"]),
        *calibration_lines(outcome["calibration"]),
        *(f"failed: {case}: {message}" for case, message in outcome["failed"].items()),
    ]


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
