"""`segduet check`: everything wrong with a dataset, at once."""

import time
from collections import Counter

from segduet.core.errors import SegduetError
from segduet.core.files import write_json
from segduet.core.folders import DataRoot, DatasetFolders
from segduet.core.manifest import RunManifest, utc
from segduet.dataset.check import check_dataset
from segduet.dataset.summary import DatasetSummary, summarize_dataset

REPORT_FILE = "dataset-report.json"
MANIFEST_FILE = "check_manifest.json"  # manifest.json there is the import's


def check(
    root: DataRoot, dataset: str, *, workers: int = 1, compares_images: bool = True
) -> RunManifest:
    """Looks at every file of a raw dataset; writes `dataset-report.json` where all can be read.

    The manifest lies beside it as `check_manifest.json`.

    Args:
        root: where datasets lie.
        dataset: full name, number or short name.
        workers: cases read at the same time.
        compares_images: whether to look for near-duplicates.

    Returns:
        The manifest; its outcome holds `findings` and, in `lines`, the dataset in a few words.

    Raises:
        RequestError: no such dataset.
        DataError: dataset.json cannot be read.
    """
    started = time.time()
    folders = root.dataset(dataset)
    findings = check_dataset(folders, max(1, workers), compares_images=compares_images)
    summary = _summary(folders, max(1, workers))
    if summary is not None:
        write_json(folders.raw / REPORT_FILE, summary.to_json())
    counts = Counter(f.severity for f in findings)
    notes = f", {counts['note']} notes" if counts["note"] else ""
    manifest = RunManifest(
        command="check",
        arguments={"dataset": folders.name, "compares_images": compares_images},
        outcome={
            "findings": [f.to_json() for f in findings],
            "lines": [
                f"{folders.name}: {counts['error']} errors, {counts['warning']} warnings{notes}",
                *(_lines(summary) if summary else ()),
            ],
            "report": summary.to_json() if summary else None,
        },
        started=utc(started),
        seconds=time.time() - started,
    )
    manifest.write(folders.raw, MANIFEST_FILE)
    return manifest


def _summary(folders: DatasetFolders, workers: int) -> DatasetSummary | None:
    """The dataset in numbers; None where damaged files forbid it, which the findings tell."""
    try:
        return summarize_dataset(folders, workers=workers)
    except SegduetError:
        return None


def _lines(summary: DatasetSummary) -> list[str]:
    lines = [f"  {summary.num_images} images, {summary.num_masks} masks"]
    if summary.num_unlabelled:
        lines.append(f"  {summary.num_unlabelled} cases without a mask: they teach classes alone")
    for task, classes in summary.cases_per_class.items():
        counts = {name: sum(splits.values()) for name, splits in classes.items() if splits}
        lines.append(f"  {task}: {counts}")
    return lines
