"""`segduet plan` and `segduet preprocess`: raw dataset to prepared cases."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from segduet.core.cases import CaseTable
from segduet.core.description import DatasetDescription
from segduet.core.folders import DataRoot
from segduet.core.manifest import RunManifest, utc
from segduet.dataset.folds import (
    Fold,
    declared_fold,
    stratified_grouped_folds,
    stratifying_task,
    write_splits,
)
from segduet.nnunet.planning import plan_dataset
from segduet.nnunet.preprocess import preprocess_dataset
from segduet.preparation.prepare import prepare_case
from segduet.workflows.planned_dataset import PlannedDataset


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRequest:
    """How to plan a dataset and split it.

    Attributes:
        planner: key of `PLANNERS`.
        memory_gb: GPU memory to plan for; None takes the planner's own.
        num_folds: folds of cross-validation; None keeps the split the data came with, and makes
            five folds where there is none.
        seed: of the folds.
        coarse: add a configuration that finds the region to look at (F72).
        hold_out_validation: keep the cases of split `val` out of the fingerprint (F05).
    """

    dataset: str
    planner: str = "plain"
    memory_gb: float | None = None
    num_folds: int | None = None
    seed: int = 0
    coarse: bool = False
    hold_out_validation: bool = False
    workers: int = 1


def plan(root: DataRoot, request: PlanRequest) -> RunManifest:
    """Fingerprint, plan and folds of a dataset.

    Raises:
        RequestError: no such dataset or planner.
        DataError: a damaged case, a class too small for the folds, or a dataset without masks.
    """
    started = time.time()
    folders = root.dataset(request.dataset)
    description = DatasetDescription.read(folders.raw / "dataset.json")
    table = CaseTable.read(folders.raw / "cases.csv", description.tasks)
    folds = _folds(table, description, request)
    made = plan_dataset(
        folders,
        planner=request.planner,
        memory_gb=request.memory_gb,
        fingerprint_cases=_fingerprint_cases(table, request),
        workers=request.workers,
        coarse=request.coarse,
    )
    write_splits(folders.splits_file, folds)
    manifest = RunManifest(
        command="plan",
        arguments={
            "dataset": folders.name,
            "planner": request.planner,
            "seed": request.seed,
            "coarse": request.coarse,
        },
        outcome={
            "plans": made.plans_name,
            "configurations": {
                name: {
                    "patch_size": list(made.configuration(name).patch_size),
                    "spacing_mm": list(made.configuration(name).spacing),
                    "batch_size": made.configuration(name).batch_size,
                }
                for name in made.configurations
            },
            "folds": [{"train": len(f.train), "val": len(f.val)} for f in folds],
        },
        started=utc(started),
        seconds=time.time() - started,
    )
    manifest.write(folders.preprocessed)
    return manifest


def _folds(
    table: CaseTable, description: DatasetDescription, request: PlanRequest
) -> Sequence[Fold]:
    declared = declared_fold(table)
    if declared and request.num_folds is None:
        return [declared]
    cases = [r.case for r in table if r.split != "test"]
    task = stratifying_task(description.tasks)
    return stratified_grouped_folds(
        table, task, cases=cases, num_folds=request.num_folds or 5, seed=request.seed
    )


def _fingerprint_cases(table: CaseTable, request: PlanRequest) -> list[str]:
    kept_out = ("val", "test") if request.hold_out_validation else ("test",)
    return [r.case for r in table if r.split not in kept_out]


def preprocess(
    root: DataRoot,
    dataset: str,
    configuration: str,
    *,
    plans: str | None = None,
    workers: int = 1,
    on_case: Callable[[int, int, str], None] = lambda *_: None,
) -> RunManifest:
    """Prepares every case but the test cases; cases that are whole and unchanged are kept.

    Args:
        on_case: called with (cases done, cases in all, case id).

    Raises:
        RequestError: the dataset is not planned, or has no such configuration.
        DataError: a case that cannot be prepared, by name; finished ones stay.
    """
    started = time.time()
    planned = PlannedDataset.open(root, dataset, plans)
    cases = [r.case for r in planned.table if r.split != "test"]
    done: list[str] = []

    def report(case: str) -> None:
        done.append(case)
        on_case(len(done), len(cases), case)

    store = preprocess_dataset(
        planned.folders,
        planned.plan,
        configuration,
        prepare=prepare_case,
        workers=workers,
        cases=cases,
        on_progress=report,
    )
    manifest = RunManifest(
        command="preprocess",
        arguments={"dataset": planned.folders.name, "configuration": configuration},
        outcome={"cases": len(done), "folder": str(store.folder)},
        started=utc(started),
        seconds=time.time() - started,
    )
    manifest.write(planned.folders.preprocessed, f"preprocess_{configuration}_manifest.json")
    return manifest
