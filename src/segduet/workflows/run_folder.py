"""The folder of one training: its name, and what an earlier training left in it."""

import re
import shutil
from pathlib import Path

from segduet.core.errors import RequestError
from segduet.training.loop import BEST_MODEL, CHECKPOINT
from segduet.workflows.models import MODEL_FILE
from segduet.workflows.planned_dataset import PlannedDataset
from segduet.workflows.run_record import RUN_RECORD

STOCK_CHECKPOINT = "checkpoint_final.pth"  # nnU-Net's name
VALIDATION = "validation"

#: nnU-Net parts a model folder's name at `__`.
_TRAINER_NAME = re.compile(r"[A-Za-z0-9](?:_?[A-Za-z0-9.-]+)*")


def choose_run_folder(
    planned: PlannedDataset, *, trainer: str, configuration: str, fold: str
) -> Path:
    """Where a training goes, whether or not the folder exists.

    Args:
        planned: dataset and plan.
        trainer: first part of the model folder's name.
        configuration: such as `3d_fullres`.
        fold: number, or `all`.

    Raises:
        RequestError: the name cannot be part of a model folder's name.
    """
    if not _TRAINER_NAME.fullmatch(trainer):
        raise RequestError(
            f"--name {trainer}",
            found="a name that cannot begin a model folder's",
            expected="letters, digits, '.', '-' and single '_'",
            remedy="Choose another with --name.",
        )
    return planned.folders.run(trainer, planned.plan.plans_name, configuration, fold)


def refuse_earlier(folder: Path) -> None:
    """Refuses a folder that holds a training already, ours or stock nnU-Net's.

    Raises:
        RequestError: it does.
    """
    if any(folder.glob("checkpoint_*")):
        raise RequestError(
            str(folder),
            found="a training",
            expected="an empty run folder",
            remedy="Go on with --resume, start anew with --overwrite, or choose a --name.",
        )


def remove_earlier(folder: Path) -> None:
    """Removes what an earlier training left, so that no model outlives its own checkpoint."""
    for name in (
        *(CHECKPOINT, BEST_MODEL, MODEL_FILE, STOCK_CHECKPOINT),
        *(RUN_RECORD, "metrics.jsonl", "manifest.json"),
    ):
        (folder / name).unlink(missing_ok=True)
    for name in (VALIDATION, "tensorboard"):
        shutil.rmtree(folder / name, ignore_errors=True)
