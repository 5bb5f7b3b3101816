"""`segduet package`: the quiz submission, written and examined (F79)."""

import time
from pathlib import Path
from typing import Any

from segduet.core.errors import DataError
from segduet.core.files import read_csv
from segduet.core.manifest import RunManifest, utc
from segduet.reporting.submission import source_images, write_submission
from segduet.reporting.submission_check import check_submission


def write_quiz_package(predictions: Path, images: Path, target: Path, task: str) -> RunManifest:
    """Writes the archive from a folder that `predict` wrote, and `<archive>_manifest.json`.

    Args:
        predictions: masks and predictions.csv.
        images: the test images; exactly their cases are submitted.
        target: archive to write.
        task: column of predictions.csv with the subtype, an integer.

    Raises:
        DataError: a missing mask or answer, or an archive the quiz would refuse.
    """
    started = time.time()
    subtypes = _subtypes(predictions / "predictions.csv", task)
    sources = source_images(images)
    write_submission(target, predictions, subtypes, sources)
    manifest = RunManifest(
        command="package",
        arguments={"predictions": str(predictions), "images": str(images), "task": task},
        outcome={"archive": str(target), "cases": len(sources)},
        started=utc(started),
        seconds=time.time() - started,
    )
    manifest.write(target.parent, f"{target.stem}_manifest.json")
    return manifest


def check_quiz_package(archive: Path, images: Path) -> dict[str, Any]:
    """Names every fault of an archive.

    Raises:
        DataError: not an archive, or a test image is unreadable.
    """
    faults = check_submission(archive, source_images(images))
    found = [{"kind": f.kind, "where": f.where, "message": f.message} for f in faults]
    return {"archive": str(archive), "faults": found}


def _subtypes(source: Path, task: str) -> dict[str, int]:
    columns, rows = read_csv(source)
    if task not in columns:
        raise DataError(
            str(source),
            found=f"columns {columns}",
            expected=f"a column {task!r} with the predicted class",
            remedy="Name the task with --task.",
        )
    wrong = [row["case"] for row in rows if not row[task].isdigit()]
    if wrong:
        raise DataError(
            str(source),
            found=f"no whole number for {task!r} in case {wrong[0]!r} ({len(wrong)} such cases)",
            expected="a subtype for every case",
            remedy="Predict the failed cases again; none is submitted as class 0.",
        )
    return {row["case"]: int(row[task]) for row in rows}
