"""`segduet info`: this installation, or a model's or a bundle's record (F94).

Nothing is unpickled or built for it.
"""

import os
from importlib import metadata
from pathlib import Path
from typing import Any

from segduet.core.errors import RequestError
from segduet.core.files import read_json_lines
from segduet.core.folders import DataRoot
from segduet.core.manifest import installed_versions
from segduet.evaluation.cohort import read_summary
from segduet.inference.bundles.opening import read_bundle_manifest
from segduet.training.recipe_files import recipe_names
from segduet.workflows.run_record import read_run_record

#: Stock nnU-Net finds our trainer here, see `workflows/nnunet_trainer.py`.
SHIM_FOLDER = Path(__file__).resolve().parents[1] / "nnunet_shim"
_TRAINING_PACKAGES = ("torch", "nnunetv2", "batchgeneratorsv2")


def describe_installation(root: DataRoot) -> dict[str, Any]:
    """Versions, whether training is possible, cores, recipes, and where datasets are looked for."""
    missing = [name for name in _TRAINING_PACKAGES if not _is_installed(name)]
    return {
        "versions": installed_versions(),
        "training": "ready" if not missing else f"not installed: {missing}",
        "cores": len(os.sched_getaffinity(0)),
        "recipes": list(recipe_names()),
        "nnUNet_extTrainer": str(SHIM_FOLDER),
        "nnUNet_raw": str(root.raw),
        "nnUNet_preprocessed": str(root.preprocessed),
        "nnUNet_results": str(root.results),
    }


def describe_model(folder: Path) -> dict[str, Any]:
    """The record of every fold of a run: settings, epochs, seconds, last epoch, validation.

    Args:
        folder: a run folder, or the folder of its folds.

    Raises:
        RequestError: no run of ours in the folder.
        DataError: a damaged record.
    """
    records = sorted(folder.glob("run.json")) + sorted(folder.glob("fold_*/run.json"))
    if not records:
        raise RequestError(
            str(folder),
            found="no run.json",
            expected="a run folder of `segduet train`",
            remedy="Check the path; a stock nnU-Net model has no such record.",
        )
    return {path.parent.name: _run(path.parent) for path in records}


def describe_bundle(path: Path) -> dict[str, Any]:
    """The manifest of a bundle, after all its files were checked; an archive stays packed (B20).

    Args:
        path: archive or folder, see `inference.bundles.opening.is_bundle`.

    Raises:
        DataError: it is missing, damaged or hostile; the message names the fault.
    """
    return read_bundle_manifest(path).to_json()


def _run(folder: Path) -> dict[str, Any]:
    history = folder / "metrics.jsonl"
    epochs = read_json_lines(history) if history.is_file() else []
    validation = folder / "validation" / "summary.json"
    return {
        **read_run_record(folder),
        "last_epoch": epochs[-1] if epochs else None,
        "validation": read_summary(validation) if validation.is_file() else "not measured",
    }


def _is_installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True
