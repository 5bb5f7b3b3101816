"""Graphs of OpenVINO on disk: a description (`.xml`) with its weights (`.bin`) beside it."""

from pathlib import Path

import openvino

from segduet.core.errors import StorageError
from segduet.core.files import atomic_path


def weights_file(description: Path) -> Path:
    """Where the weights of a described graph are."""
    return description.with_suffix(".bin")


def write_graph(graph: openvino.Model, description: Path) -> None:
    """Writes both files with all numbers as they are.

    The description gets its name last, so one that is there has its weights.

    Raises:
        StorageError: a file could not be written.
    """
    weights = weights_file(description)
    with atomic_path(description) as new_description, atomic_path(weights) as new_weights:
        try:
            openvino.serialize(graph, new_description, new_weights)
        except RuntimeError as error:
            raise StorageError(
                str(description),
                found=f"the write failed: {error}",
                expected="a folder with free space that this user may write to",
                remedy="Free some space or choose another folder; nothing was half-written.",
            ) from error
