"""`patients`: one answer per patient, from predictions of all its images."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from segduet.cli.display import print_result
from segduet.cli.idle_options import refuse_idle
from segduet.cli.options import (
    DataRootOption,
    DatasetArgument,
    JsonOption,
    WorkersOption,
    data_root,
    num_workers,
)
from segduet.core.seeds import LARGEST_SEED


class PatientAggregation(StrEnum):
    """Rules by which a patient's images answer together."""

    MEAN = "mean"
    EVIDENCE_WEIGHTED = "evidence_weighted"
    TRAINED = "trained"


class MaskSource(StrEnum):
    """Masks that training patients can be measured on."""

    PREDICTED = "predicted"
    REFERENCE = "reference"


def register(app: typer.Typer) -> None:
    """Adds this group's command."""
    app.command()(patients)


def patients(
    dataset: DatasetArgument,
    predictions: Annotated[Path, typer.Option(help="Folder that `predict` wrote, or masks.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the answers.")],
    model: Annotated[
        Path | None, typer.Option(help="Apply this fitted model (a folder `model`).")
    ] = None,
    features: Annotated[
        Path | None, typer.Option(help="Frozen features: .npz, one vector per case.")
    ] = None,
    score_split: Annotated[
        str | None, typer.Option(help="Answer this split; default: all, out of fold.")
    ] = None,
    fit_split: Annotated[
        str | None, typer.Option(help="Fit on this split [default: train].")
    ] = None,
    folds: Annotated[int | None, typer.Option(min=2, help="Patient folds [default: 5].")] = None,
    fit_masks: Annotated[
        MaskSource | None,
        typer.Option(help="Masks training patients are measured on [default: predicted]."),
    ] = None,
    task: Annotated[str | None, typer.Option(help="Task, where there are several.")] = None,
    aggregation: Annotated[
        PatientAggregation | None,
        typer.Option(help="How a patient's images answer together [default: mean]."),
    ] = None,
    wall: Annotated[
        list[str] | None,
        typer.Option(help="WALL:CAVITY, regions whose wall thickness is measured."),
    ] = None,
    order_by: Annotated[
        str | None,
        typer.Option(help="Region whose volume orders a patient's images [the task's region]."),
    ] = None,
    intensity: Annotated[bool, typer.Option("--intensity", help="Measure intensities.")] = False,
    selected_from: Annotated[
        int | None,
        typer.Option(min=1, help="Candidates the predictions were chosen from [default: 1]."),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=LARGEST_SEED, help="Seed of folds, models and intervals.")
    ] = 0,
    root: DataRootOption = None,
    workers: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Answer for patients: measured regions, frozen features and network, fused where it helps."""
    if score_split is None:
        refuse_idle("patients", {"--fit-split": fit_split}, "without --score-split")
    shared = {
        "dataset": dataset,
        "predictions": predictions,
        "out": out,
        "features": features,
        "score_split": _split(score_split, "--score-split"),
        "workers": num_workers(workers),
    }
    of_fitting = {
        "fit_split": _split(fit_split, "--fit-split"),
        "folds": folds,
        "fit_masks": fit_masks.value if fit_masks else None,
        "task": task,
        "rule": aggregation.value if aggregation else None,
        "walls": tuple(_wall(text) for text in wall or ()) or None,
        "order_by": order_by,
        "with_intensity": intensity or None,
        "selected_from": selected_from,
    }
    given = {name: value for name, value in of_fitting.items() if value is not None}
    manifest = _run(root, model, shared, given, seed=seed)
    lines = [*_lines(manifest.outcome), *(f"note: {w}" for w in manifest.warnings)]
    print_result(manifest.outcome, lines, as_json=as_json)


def _run(
    root: Path | None, model: Path | None, shared: Any, given: dict[str, Any], *, seed: int
) -> Any:
    from segduet.core.errors import RequestError
    from segduet.evaluation.patient_models import PatientModelSettings
    from segduet.evaluation.patients import PatientRule
    from segduet.workflows.patient_answers import answer_patients, apply_patient_model
    from segduet.workflows.patient_requests import ApplyRequest, PatientsRequest

    if model is None:
        given |= {"rule": PatientRule(given["rule"])} if "rule" in given else {}
        folds = {"num_folds": given.pop("folds")} if "folds" in given else {}
        settings = PatientModelSettings(seed=seed, **folds)
        request = PatientsRequest(**shared, **given, settings=settings)
        return answer_patients(data_root(root), request)
    if given:
        raise RequestError(
            f"--model {model}",
            found=f"options that a fitted model has settled: {sorted(given)}",
            expected="only predictions, features, a split to score and an output folder",
            remedy="Leave them out, or fit anew without --model.",
        )
    return apply_patient_model(data_root(root), ApplyRequest(model=model, seed=seed, **shared))


def _split(text: str | None, option: str) -> Any:
    from segduet.core.cases import parse_split

    return None if text is None else parse_split(text, where=option)


def _wall(text: str) -> tuple[str, str]:
    from segduet.core.errors import RequestError

    wall, separator, cavity = text.partition(":")
    if not (separator and wall and cavity):
        raise RequestError(
            f"--wall {text}",
            found="no pair of regions",
            expected="WALL:CAVITY, such as MYO:LV",
            remedy="Name both regions.",
        )
    return wall, cavity


def _lines(outcome: Any) -> list[str]:
    lines = [f"{outcome['n_patients']} patients, {outcome['n_images']} images"]
    for part, figures in outcome["parts"].items():
        shown = [f"{m} {_figure(figures[m])}" for m in ("accuracy", "macro_f1")]
        lines.append(f"  {part}: {', '.join(shown)}")
    return [*lines, f"  {outcome['choice']['verdict']}"]


def _figure(figure: Any) -> str:
    if figure["value"] is None:
        return f"not measured ({figure['reason']})"
    interval = figure["ci95"]
    limits = f"{interval[0]:.3f}-{interval[1]:.3f}" if interval else "no interval"
    return f"{figure['value']:.3f} ({limits}, n = {figure['n']})"
