"""`segduet compare`: evaluations of the same cases, each against the first (F86, F95)."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from segduet.core.errors import DataError, RequestError
from segduet.core.manifest import RunManifest, utc
from segduet.core.tasks import TaskSpec
from segduet.evaluation.cohort import read_summary
from segduet.evaluation.comparable import ComparedRun
from segduet.evaluation.comparison import compare_runs
from segduet.evaluation.scores_file import read_scores
from segduet.workflows.evaluation import SCORES_FILE, SUMMARY_FILE

COMPARISON_FILE = "comparison.json"
_TASKS = TypeAdapter(tuple[TaskSpec, ...])


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareRequest:
    """What to compare.

    Attributes:
        runs: two or more folders that `evaluate` wrote (or the validation folder of a run); the
            first is the reference.
        out: folder for comparison.json and the manifest.
        seed: of resampling and exchanging.
    """

    runs: Sequence[Path]
    out: Path
    seed: int = 0


def compare(request: CompareRequest) -> RunManifest:
    """Compares runs case by case; writes comparison.json and the manifest.

    Returns:
        The manifest; its outcome is the content of comparison.json.

    Raises:
        RequestError: fewer than two runs, or one of them twice.
        DataError: a folder is no evaluation, or judges other cases, truths, regions or tasks.
    """
    started = time.time()
    _check_request(request.runs)
    names = distinct_names(request.runs)
    runs = [read_run(folder, name) for folder, name in zip(request.runs, names, strict=True)]
    comparison = compare_runs(runs, seed=request.seed)
    manifest = RunManifest(
        command="compare",
        arguments={"runs": [str(folder) for folder in request.runs], "seed": request.seed},
        outcome=comparison.model_dump(mode="json"),
        warnings=[
            f"{run.name} was chosen from {run.selected_from} candidates on these very cases, which "
            "flatters it against a run that was not"
            for run in runs
            if run.selected_from > 1
        ],
        started=utc(started),
        seconds=time.time() - started,
    )
    comparison.write(request.out / COMPARISON_FILE)
    manifest.write(request.out)
    return manifest


def distinct_names(folders: Sequence[Path]) -> list[str]:
    """The last parts of each folder's path, as many as tell all of them apart.

    Args:
        folders: paths, no two of which are the same folder.
    """
    parts = [folder.resolve().parts for folder in folders]
    for depth in range(1, max(len(p) for p in parts) + 1):
        names = ["/".join(p[-depth:]) for p in parts]
        if len(set(names)) == len(names):
            return names
    raise AssertionError(folders)


def _check_request(folders: Sequence[Path]) -> None:
    places = [folder.resolve() for folder in folders]
    repeated = [str(f) for f, place in zip(folders, places, strict=True) if places.count(place) > 1]
    if len(folders) < 2 or repeated:
        raise RequestError(
            "segduet compare",
            found=f"{repeated[0]} more than once" if repeated else f"{len(folders)} run",
            expected="two or more evaluation folders that differ, the reference run first",
            remedy="Name each run once.",
        )


def read_run(folder: Path, name: str) -> ComparedRun:
    """An evaluation, or the validation of a training, as something to compare.

    Args:
        folder: that `evaluate` or `train` wrote.
        name: what tables call it.

    Raises:
        DataError: no evaluation, or one that does not say what it judged.
    """
    source = folder / SUMMARY_FILE
    if not source.is_file():
        raise DataError(
            str(folder),
            found=f"no {SUMMARY_FILE}",
            expected="a folder that `segduet evaluate` wrote",
            remedy="Check the path, or evaluate the run's predictions first.",
        )
    summary = read_summary(source)
    tasks = _tasks(summary, source)
    return ComparedRun(
        name=name,
        folder=str(folder),
        cases=read_scores(folder / SCORES_FILE, tasks),
        regions=tuple(summary["regions"]),
        tasks=tasks,
        selected_from=int(summary["selected_from"]),
    )


def _tasks(summary: dict[str, Any], source: Path) -> tuple[TaskSpec, ...]:
    """The questions of an evaluation; refuses a summary that does not say what it judged."""
    missing = [key for key in ("regions", "tasks", "selected_from") if key not in summary]
    try:
        tasks = _TASKS.validate_python(summary.get("tasks", ()))
    except ValidationError as error:
        missing, tasks = [f"tasks that can be read ({error.errors()[0]['msg']})"], ()
    if missing:
        raise DataError(
            str(source),
            found=f"a summary without {', '.join(missing)}",
            expected="a summary.json that names its regions and tasks",
            remedy="Evaluate again with this version of segduet.",
        )
    return tasks
