"""What happened in each epoch: metrics.jsonl always, TensorBoard beside it (F55)."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from segduet.core.files import write_text
from segduet.training.panels import confusion_figure, rendered


class HistoryLog:
    """Writes finished epochs into a run folder.

    metrics.jsonl is rewritten whole and atomically, so it always agrees with the checkpoint.

    Args:
        run_folder: where `metrics.jsonl` and `tensorboard/` go.
        first_epoch: epoch the training starts from; TensorBoard events after it are superseded.
    """

    def __init__(self, run_folder: Path, *, first_epoch: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._file = Path(run_folder) / "metrics.jsonl"
        self._events = SummaryWriter(str(Path(run_folder) / "tensorboard"), purge_step=first_epoch)

    def write(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Writes all records; the last one goes to TensorBoard, confusion matrices as images."""
        write_text(self._file, "".join(json.dumps(record) + "\n" for record in history))
        record = history[-1]
        for tag, value in _scalars(record):
            self._events.add_scalar(tag, value, record["epoch"])
        for task, matrix in record.get("full_case", {}).get("confusion", {}).items():
            picture = rendered(confusion_figure(matrix["classes"], matrix["counts"]))
            self._add_image(f"confusion/{task}", picture, record["epoch"])
        self._events.flush()

    def write_details(
        self, network: nn.Module, panels: Mapping[str, np.ndarray], *, epoch: int
    ) -> None:
        """Histograms of all weights and of the last step's gradients, and pictures, to TensorBoard.

        Args:
            network: the network in training; parameters without a gradient have no histogram of it,
                nor has anything that is not finite throughout.
            panels: name -> (H, W, 3) uint8.
            epoch: epoch they belong to, counted from 0.
        """
        for name, parameter in network.named_parameters():
            for kind, values in (("parameters", parameter), ("gradients", parameter.grad)):
                if values is not None and bool(torch.isfinite(values).all()):
                    numbers = values.detach().float().cpu().numpy()
                    self._events.add_histogram(f"{kind}/{name}", numbers, epoch)
        for name, picture in panels.items():
            self._add_image(f"patches/{name}", picture, epoch)
        self._events.flush()

    def close(self) -> None:
        """Closes the event file."""
        self._events.close()

    def _add_image(self, tag: str, picture: np.ndarray, epoch: int) -> None:
        self._events.add_image(tag, picture, epoch, dataformats="HWC")


def _scalars(record: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for key, value in record.items():
        if isinstance(value, Mapping):
            yield from _scalars(value, f"{prefix}{key}/")
        elif isinstance(value, int | float) and key != "epoch":
            yield f"{prefix}{key}", float(value)
