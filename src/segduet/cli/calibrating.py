"""`calibrate`: learn how far probabilities can be trusted, and check whether that held."""

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from segduet.cli.display import print_result
from segduet.cli.idle_options import refuse_idle
from segduet.cli.options import DataRootOption, JsonOption, WorkersOption, data_root, num_workers
from segduet.core.errors import RequestError
from segduet.core.manifest import RunManifest
from segduet.core.seeds import LARGEST_SEED


class CalibrationAction(StrEnum):
    """What can be done."""

    LEARN = "learn"
    CHECK = "check"


def register(app: typer.Typer) -> None:
    """Adds this group's command."""
    app.command()(calibrate)


def calibrate(
    action: Annotated[
        CalibrationAction,
        typer.Argument(help="learn: from validation cases; check: on predictions of new cases."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="JSON file to write.")],
    sources: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Model or run folders, or evaluations of a fold [learn].",
            metavar="[FOLDER...]",
            show_default=False,
        ),
    ] = None,
    task: Annotated[
        list[str] | None,
        typer.Option(
            help="A task to calibrate; repeatable [learn only].",
            show_default="all with classes",
        ),
    ] = None,
    alpha: Annotated[
        list[float] | None,
        typer.Option(
            help="Share of a class's patients whose set may lack it; repeatable [learn only].",
            show_default="0.1",
        ),
    ] = None,
    min_probability: Annotated[
        float | None,
        typer.Option(
            help="Withhold answers below this calibrated probability [learn only].",
            show_default="withhold where the set holds other classes",
        ),
    ] = None,
    reference: Annotated[
        str | None, typer.Option(help="Dataset, or folder with cases.csv [check only].")
    ] = None,
    predictions: Annotated[
        Path | None, typer.Option(help="Folder that `predict --calibration` wrote [check only].")
    ] = None,
    seed: Annotated[
        int,
        typer.Option(
            min=0, max=LARGEST_SEED, help="Seed of the parts and of the intervals' resampling."
        ),
    ] = 0,
    root: DataRootOption = None,
    workers: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Calibrate class probabilities: temperature, sets that keep a promise, abstention, flags."""
    if action is CalibrationAction.LEARN:
        of_check = {"--reference": reference, "--predictions": predictions}
        refuse_idle("calibrate", of_check, "with learn")
        options = {"alphas": tuple(alpha) if alpha else None, "least_confidence": min_probability}
        manifest = _learn(sources or [], out, task, {**options, "seed": seed}, root, workers)
        print_result(manifest.outcome, list(learned_lines(manifest, out)), as_json=as_json)
        return
    of_learn = {
        "FOLDER": sources,
        "--task": task,
        "--alpha": alpha,
        "--min-probability": min_probability,
        "--workers": workers,
    }
    refuse_idle("calibrate", of_learn, "with check")
    manifest = _check(reference, predictions, out, seed, root)
    print_result(manifest.outcome, list(checked_lines(manifest, out)), as_json=as_json)


def _learn(
    sources: Sequence[Path],
    out: Path,
    tasks: Sequence[str] | None,
    settings: Mapping[str, Any],
    root: Path | None,
    workers: int | None,
) -> RunManifest:
    from segduet.evaluation.calibration_learning import CalibrationSettings
    from segduet.workflows.calibrating import LearnCalibrationRequest, learn_calibration

    if not sources:
        raise RequestError(
            "segduet calibrate learn",
            found="no folder",
            expected="a model folder, run folders, or evaluations of a fold",
            remedy="Name one.",
        )
    request = LearnCalibrationRequest(
        sources=sources,
        out=out,
        tasks=tasks,
        settings=CalibrationSettings(**settings),
        workers=num_workers(workers),
    )
    return learn_calibration(data_root(root), request)


def _check(
    reference: str | None, predictions: Path | None, out: Path, seed: int, root: Path | None
) -> RunManifest:
    from segduet.workflows.calibration_check import CheckCalibrationRequest, check_calibration

    if reference is None or predictions is None:
        raise RequestError(
            "segduet calibrate check",
            found="no --reference" if reference is None else "no --predictions",
            expected="a dataset, and a folder of calibrated predictions",
            remedy="Name both.",
        )
    request = CheckCalibrationRequest(
        reference=reference, predictions=predictions, out=out, seed=seed
    )
    return check_calibration(data_root(root), request)


def learned_lines(manifest: RunManifest, out: Path) -> Iterator[str]:
    """What was learned and what it changes, for a person.

    Args:
        manifest: of `calibrate learn`.
        out: the file.
    """
    for name, task in manifest.outcome["tasks"].items():
        temperatures = ", ".join(f"{t:.2f}" for t in task["temperatures"])
        yield f"{name}: temperature {temperatures} on {task['evidence']['num_cases']} cases"
        for question, figures in task["evidence"]["reliability"].items():
            for figure, change in figures.items():
                before, after = change["before"]["value"], change["after"]["value"]
                yield (
                    f"  {question} {figure.upper()}: {before:.3f} before, {after:.3f} after; "
                    f"difference {_figure(change['difference'])}"
                )
        for sets in task["evidence"].get("sets", ()):
            yield f"  alpha {sets['alpha']:g}"
            yield from _set_lines(sets)
        if "abstention" in task["evidence"]:
            yield f"  AURC: {_figure(task['evidence']['abstention']['aurc'])}"
        rules = task["consistency"]["classes"] if task["consistency"] else ()
        region = (task["consistency"] or {}).get("region") or "any foreground"
        for rule in rules:
            patients = f"{rule['num_patients']} patients"
            yield f"  {rule['answer']}: {rule['region']} with {region} ({patients})"
    yield from (f"note: {warning}" for warning in manifest.warnings)
    yield f"written: {out}"


def checked_lines(manifest: RunManifest, out: Path) -> Iterator[str]:
    """Whether it held, for a person.

    Args:
        manifest: of `calibrate check`.
        out: the file.
    """
    for name, task in manifest.outcome["tasks"].items():
        yield f"{name}: {task['n']} cases with a known answer"
        for question, figures in task.get("reliability", {}).items():
            for figure, value in figures.items():
                yield f"  {question} {figure.upper()}: {_figure(value)}"
        if "sets" in task:
            yield from _set_lines(task["sets"])
            yield f"  AURC: {_figure(task['abstention']['aurc'])}"
    for name, flags in manifest.outcome.get("consistency", {}).items():
        for figure, value in flags.items():
            yield f"{name} {figure}: {_figure(value)}"
    yield from (f"note: {warning}" for warning in manifest.warnings)
    yield f"written: {out}"


def _set_lines(sets: Mapping[str, Any]) -> Iterator[str]:
    for name, coverage in sets["coverage_by_class"].items():
        yield f"    coverage of {name}: {_figure(coverage)}"
    for figure in ("mean_set_size", "abstention_rate", "accuracy_answered", "accuracy_all"):
        yield f"    {figure}: {_figure(sets[figure])}"


def _figure(figure: Mapping[str, Any]) -> str:
    if figure["value"] is None:
        return f"not measured: {figure['reason']}"
    limits = "95 % interval {:.3f} to {:.3f}".format(*figure["ci95"]) if figure["ci95"] else ""
    return f"{figure['value']:.3f} ({limits or 'no interval'}, n = {figure['n']})"


def calibration_lines(calibration: Mapping[str, Any] | None) -> list[str]:
    """How many answers a calibration withheld, and how many masks contradict their class.

    Args:
        calibration: as in the manifest of `predict`; None without one.
    """
    if calibration is None:
        return []
    lines = [f"calibration: {calibration['source']}"]
    lines += [f"  {task}: {n} answers withheld" for task, n in calibration["abstained"].items()]
    if calibration["flagged"] is not None:
        lines.append(f"  {len(calibration['flagged'])} masks contradict their class")
    return lines
