"""What happened in each epoch: metrics.jsonl always, TensorBoard beside it (F55)."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from segduet.core.files import write_text


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
        """Writes all records; the last one goes to TensorBoard."""
        write_text(self._file, "".join(json.dumps(record) + "\n" for record in history))
        record = history[-1]
        for tag, value in _scalars(record):
            self._events.add_scalar(tag, value, record["epoch"])
        self._events.flush()

    def close(self) -> None:
        """Closes the event file."""
        self._events.close()


def _scalars(record: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for key, value in record.items():
        if isinstance(value, Mapping):
            yield from _scalars(value, f"{prefix}{key}/")
        elif isinstance(value, int | float) and key != "epoch":
            yield f"{prefix}{key}", float(value)
