"""`segduet advise`: which metrics suit a dataset, before anything is trained on it."""

import time
from pathlib import Path

from segduet.core.files import write_json
from segduet.core.folders import DataRoot
from segduet.core.manifest import RunManifest, utc
from segduet.evaluation.data_fingerprint import dataset_fingerprint
from segduet.evaluation.metric_advice import metric_advice
from segduet.workflows.reference_dataset import ReferenceDataset

ADVICE_FILE = "advice.json"


def advise(
    root: DataRoot, dataset: str, *, out: Path | None = None, workers: int = 1
) -> RunManifest:
    """Measures the reference masks, counts the known answers and says what follows.

    Args:
        root: where datasets lie.
        dataset: name or number, or a folder with dataset.json, cases.csv and masks.
        out: folder for `advice.json` and the manifest; None writes nothing.
        workers: masks read at the same time.

    Returns:
        The manifest; its outcome is the content of `advice.json`: `dataset`, `fingerprint` and
        `advice`.

    Raises:
        RequestError: no such dataset.
        DataError: nothing is known about any case, or a file is damaged or has undeclared values.
    """
    started = time.time()
    source = ReferenceDataset.open(root, dataset)
    references = source.references(source.description.tasks)
    fingerprint = dataset_fingerprint(references, workers=workers)
    manifest = RunManifest(
        command="advise",
        arguments={"dataset": dataset},
        outcome={
            "dataset": source.folder.name,
            "fingerprint": fingerprint.to_json(),
            "advice": [piece.to_json() for piece in metric_advice(fingerprint)],
        },
        started=utc(started),
        seconds=time.time() - started,
    )
    if out is not None:
        write_json(out / ADVICE_FILE, dict(manifest.outcome))
        manifest.write(out)
    return manifest
