"""What the heads read and where they looked, written beside the answers."""

import io
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import numpy as np

from segduet.core.files import atomic_path, write_bytes
from segduet.core.prediction import Prediction
from segduet.io.itk import write_scan


def features_file(folder: Path, task: str) -> Path:
    """Where the features of a task's head are written.

    Args:
        folder: of the answers.
        task: its name.
    """
    return folder / f"features_{_file_part(task)}.npz"


def attention_file(folder: Path, case: str, task: str) -> Path:
    """Where a task's head looked in a case.

    Args:
        folder: of the answers.
        case: case id.
        task: its name.
    """
    return folder / "attention" / f"{case}_attention_{_file_part(task)}.nii.gz"


def write_features(folder: Path, features: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    """Writes `features_<task>.npz`: one (F,) float32 array per case, for a frozen-feature probe.

    Args:
        folder: of the answers.
        features: case -> task -> (F,).
    """
    tasks = sorted({task for found in features.values() for task in found})
    for task in tasks:
        vectors = {case: found[task] for case, found in features.items() if task in found}
        content = io.BytesIO()
        np.savez(content, allow_pickle=False, **vectors)
        write_bytes(features_file(folder, task), content.getvalue())


def write_attention(folder: Path, prediction: Prediction) -> None:
    """Writes `attention/<case>_attention_<task>.nii.gz` on the image's grid; float32, sums to 1.

    Heads that do not attend leave no map.
    """
    for task, weights in prediction.attention.items():
        with atomic_path(attention_file(folder, prediction.case, task)) as temporary:
            write_scan(temporary, weights, prediction.geometry)


def _file_part(task: str) -> str:
    return quote(task, safe="")
