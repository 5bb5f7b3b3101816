"""The road of a real dataset: import, plan, preprocess, train, score the validation cases."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segduet.core.folders import DataRoot
from segduet.training.recipe_files import load_recipe
from segduet.workflows.evaluation import EvaluateRequest, evaluate
from segduet.workflows.importing import ImportRequest, import_dataset
from segduet.workflows.preparing import PlanRequest, plan, preprocess
from segduet.workflows.train_request import TrainRequest
from segduet.workflows.training import train


@dataclass(frozen=True, slots=True, kw_only=True)
class RealDataset:
    """A folder of `../shared/data` and how it is trained.

    Attributes:
        full_name: nnU-Net name.
        label_names: foreground labels in order of value.
    """

    folder: str
    full_name: str
    label_names: tuple[str, ...]
    configuration: str


ACDC = RealDataset(
    folder="acdc_small",
    full_name="Dataset301_acdc_small",
    label_names=("RV", "MYO", "LV"),
    configuration="3d_fullres",
)
BUSI = RealDataset(
    folder="busi_256",
    full_name="Dataset302_busi_256",
    label_names=("lesion",),
    configuration="2d",
)


def prepare(root: DataRoot, data: Path, dataset: RealDataset) -> None:
    """Imports, plans (small planner, split of the table) and preprocesses, where not done yet."""
    workers = len(os.sched_getaffinity(0))
    if not (root.raw / dataset.full_name).is_dir():
        import_dataset(
            root,
            ImportRequest(
                layout="table",
                source=data / dataset.folder,
                name=dataset.full_name,
                label_names=dataset.label_names,
                workers=workers,
            ),
        )
    plan(root, PlanRequest(dataset=dataset.full_name, planner="small", workers=workers))
    preprocess(root, dataset.full_name, dataset.configuration, workers=workers)


def train_and_score(
    root: DataRoot, dataset: RealDataset, recipe: str, changes: list[str], out: Path
) -> tuple[Path, dict[str, Any]]:
    """Trains fold 0 and scores the `val` cases with baselines; returns run folder and summary."""
    manifest = train(
        root,
        TrainRequest(
            dataset=dataset.full_name,
            configuration=dataset.configuration,
            recipe=load_recipe(recipe, changes),
            device="cpu",
            overwrite=True,
        ),
        lambda p: print(p, flush=True) if p.step % 50 == 0 else None,
    )
    run_folder = Path(manifest.outcome["run_folder"])
    request = EvaluateRequest(
        reference=dataset.full_name,
        predictions=run_folder / "validation",
        out=out,
        split="val",
        workers=2,
    )
    return run_folder, dict(evaluate(root, request).outcome)
