"""`segduet info` of one checkpoint: its epoch and figures, without unpickling or torch (F94)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from segduet.core.files import read_json_lines
from segduet.evaluation.cohort import read_summary
from segduet.reporting.history import read_series
from segduet.workflows.kept_epoch import kept_epoch
from segduet.workflows.models import MODEL_FILE, read_any_header
from segduet.workflows.run_record import RUN_RECORD, read_run_record

_NOT_MEASURED = "not measured"


def describe_checkpoint(path: Path) -> dict[str, Any]:
    """What a checkpoint holds, and what was measured in its epoch.

    Args:
        path: `model.safetensors`, a model kept on the way, or `checkpoint_latest.safetensors`.

    Returns:
        `file`, `format`, `epochs_done`, `epoch` (whose weights these are, from 0; None where it was
        not recorded), `metrics` (figure -> value in that epoch) and `validation` (content of
        summary.json for the finished model, else "not measured").

    Raises:
        DataError: the file is missing, damaged or not ours; or a damaged record beside it.
    """
    header = read_any_header(path)
    source = path.parent / "metrics.jsonl"
    history = read_json_lines(source) if source.is_file() else []
    done = header.get("epoch")
    epoch = _epoch(path, history, done)
    summary = path.parent / "validation" / "summary.json"
    is_finished = path.name == MODEL_FILE and summary.is_file()
    return {
        "file": path.name,
        "format": header.get("format"),
        "epochs_done": done,
        "epoch": epoch,
        "metrics": _figures(history, epoch),
        "validation": read_summary(summary) if is_finished else _NOT_MEASURED,
    }


def _epoch(path: Path, history: Sequence[dict[str, Any]], done: int | None) -> int | None:
    if path.name == MODEL_FILE and (path.parent / RUN_RECORD).is_file():
        return kept_epoch(history, read_run_record(path.parent))
    return None if done is None else done - 1


def _figures(history: Sequence[Mapping[str, Any]], epoch: int | None) -> dict[str, float]:
    """Everything measured on patches or cases in an epoch, by name."""
    line = [line for line in history if line["epoch"] == epoch]
    return {
        name: series.values[0]
        for name, series in read_series(line).items()
        if name.startswith(("train/", "validation/", "full_case/")) and name != "full_case/n"
    }
