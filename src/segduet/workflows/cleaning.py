"""`segduet cleanup apply`, and the same step of `predict`: label maps mended by a plan (F78)."""

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segduet.cleanup.apply import Cleaned
from segduet.cleanup.plan import CleanupPlan
from segduet.core.description import DatasetDescription
from segduet.core.errors import DataError, RequestError
from segduet.core.files import read_csv, write_bytes
from segduet.core.labels import LabelScheme
from segduet.core.manifest import RunManifest, read_manifest, utc
from segduet.core.prediction import Prediction
from segduet.inference.answers_file import ANSWERS_FILE
from segduet.io.images import (
    SUPPORTED_ENDINGS,
    name_without_ending,
    read_label_map,
    write_label_map,
)


class Cleaner:
    """A plan at work, and what it did to the cases so far.

    Args:
        source: the plan's file.

    Raises:
        DataError: the plan is damaged, or has an unknown step, setting, label or region.
    """

    def __init__(self, source: Path) -> None:
        self._source, self._plan = source, CleanupPlan.read(source)
        self._changed = [0 for _ in self._plan.steps]
        self._withheld: list[list[str]] = [[] for _ in self._plan.steps]

    def require_scheme(self, labels: LabelScheme, *, whose: str) -> None:
        """Checks that the plan was made for these labels.

        Raises:
            RequestError: it was made for others.
        """
        self._plan.require_scheme(labels, where=str(self._source), whose=whose)

    def cleaned(self, prediction: Prediction) -> Prediction:
        """The prediction with its label map mended; class answers stay what the network said.

        Raises:
            DataError: values that the plan's labels do not have.
            RequestError: the prediction has no label map, or its dimension does not fit the plan.
        """
        if prediction.label_map is None:
            raise RequestError(
                str(self._source),
                found="a cleanup plan for a network that only classifies",
                expected="a network that segments",
                remedy="Leave the plan out.",
            )
        started = time.perf_counter()
        done = self._plan.clean(
            prediction.label_map, prediction.geometry, where=f"case {prediction.case!r}"
        )
        self._count(prediction.case, done)
        seconds = {**prediction.seconds, "cleanup": time.perf_counter() - started}
        return dataclasses.replace(prediction, label_map=done.label_map, seconds=seconds)

    def _count(self, case: str, done: Cleaned) -> None:
        for number, changed in enumerate(done.num_changed):
            self._changed[number] += changed > 0
        for number, is_withheld in enumerate(done.withheld):
            if is_withheld:
                self._withheld[number].append(case)

    def to_json(self) -> dict[str, Any]:
        """For a manifest: the plan's file, and for each step which cases it changed or spared."""
        return {
            "plan": str(self._source),
            "steps": [
                {"step": step.model_dump(mode="json"), "changed_cases": n, "withheld": withheld}
                for step, n, withheld in zip(
                    self._plan.steps, self._changed, self._withheld, strict=True
                )
            ],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyRequest:
    """What to clean.

    Attributes:
        predictions: folder that `predict` or nnU-Net wrote.
        plan: the plan's file.
        out: folder for the mended label maps, and a copy of predictions.csv.
    """

    predictions: Path
    plan: Path
    out: Path


def apply_cleanup(
    request: ApplyRequest, on_case: Callable[[int, int, str], None] = lambda *_: None
) -> RunManifest:
    """Mends every label map of a folder; one that fails is named and the others are still done.

    Args:
        request: what to clean.
        on_case: called with (cases done, cases in all, case id) after each case.

    Returns:
        The manifest; `outcome["failed"]` lists the cases that failed.

    Raises:
        RequestError: the plan is for other labels or other images, or writes over its input.
        DataError: the plan is damaged, or there are no label maps.
        StorageError: a label map could not be written; finished ones are kept.
    """
    started = time.time()
    cleaner = Cleaner(request.plan)
    if request.out.resolve() == request.predictions.resolve():
        raise RequestError(
            f"--out {request.out}",
            found="the folder of the predictions",
            expected="another folder, so that what the network said is kept",
            remedy="Choose another folder with --out.",
        )
    warnings = _check_labels(cleaner, request.predictions)
    files = _label_maps(request.predictions)
    failed: dict[str, str] = {}
    for number, (case, path) in enumerate(files.items(), start=1):
        message = _clean_file(cleaner, case, path, request.out / path.name)
        if message:
            failed[case] = message
        on_case(number, len(files), case)
    answers = request.predictions / ANSWERS_FILE
    if answers.is_file():
        write_bytes(request.out / ANSWERS_FILE, answers.read_bytes())
    manifest = RunManifest(
        command="cleanup apply",
        arguments={"predictions": str(request.predictions), "plan": str(request.plan)},
        outcome={"cases": len(files), "failed": failed, "cleanup": cleaner.to_json()},
        warnings=warnings,
        started=utc(started),
        seconds=time.time() - started,
    )
    manifest.write(request.out)
    return manifest


def _clean_file(cleaner: Cleaner, case: str, source: Path, target: Path) -> str:
    """Mends one file; the message of an error in the file, else an empty one."""
    try:
        volume = read_label_map(source)
        prediction = Prediction(case=case, label_map=volume.array[0], geometry=volume.geometry)
        mended = cleaner.cleaned(prediction)
    except DataError as error:
        return " ".join(str(error).split())
    assert mended.label_map is not None
    write_label_map(target, mended.label_map, mended.geometry)
    return ""


def _label_maps(predictions: Path) -> dict[str, Path]:
    """Case -> file; of the finished cases of predictions.csv, or all there are without one."""
    files = {
        name_without_ending(path): path
        for path in sorted(predictions.glob("*"))
        if path.name.lower().endswith(SUPPORTED_ENDINGS)
    }
    table = predictions / ANSWERS_FILE
    if table.is_file():
        rows = read_csv(table)[1]
        cases = [row["case"] for row in rows if row.get("status") == "ok"]
        files = {case: files[case] for case in cases if case in files}
    if not files:
        raise DataError(
            str(predictions),
            found="no label maps",
            expected="masks, as `segduet predict` writes them",
            remedy="Check the path.",
        )
    return files


def _check_labels(cleaner: Cleaner, predictions: Path) -> list[str]:
    """Compares the plan's labels with those of the model, as far as the folder tells."""
    described = predictions / "dataset.json"  # nnU-Net leaves it beside its masks
    manifest = read_manifest(predictions, "predict")
    model = manifest.get("arguments", {}).get("model") if manifest else None
    if not described.is_file() and model:
        described = Path(model) / "dataset.json"
    if not described.is_file():
        return [f"{predictions} does not tell its labels: only the values were checked"]
    labels = DatasetDescription.read(described).label_scheme
    cleaner.require_scheme(labels, whose=str(described.parent))
    return []
