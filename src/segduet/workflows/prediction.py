"""`segduet predict`: masks in native geometry and class probabilities for every case (F63-F66)."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from segduet.core.errors import RequestError
from segduet.core.manifest import RunManifest, utc
from segduet.core.prediction import Prediction
from segduet.inference.aggregation import Aggregation
from segduet.inference.answers_file import AnswerRow, write_answers
from segduet.inference.cohort import Outcome, predict_cohort
from segduet.inference.inputs import CaseInput, find_case_inputs
from segduet.io.images import read_image, write_label_map
from segduet.workflows.head_files import write_attention, write_features
from segduet.workflows.loading import LoadedModel, load

ANSWERS_FILE = "predictions.csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictRequest:
    """What to predict, with what, and how.

    Attributes:
        model: model folder, ours or stock nnU-Net's.
        inputs: one folder of images, or image files.
        folds: folds to average; None takes all that are finished.
        mirrored: average over mirrored windows, as nnU-Net does by default.
        step: distance between windows as a share of the patch.
        aggregation: how windows answer for their case.
        checkpoints: `all` also averages the models each training kept on the way.
        keep_features: write what each head read, `features_<task>.npz` with one vector per case.
        keep_attention: write where each head looked, `<case>_attention_<task>` images.
    """

    model: Path
    inputs: Sequence[Path]
    out: Path
    folds: Sequence[str] | None = None
    device: str = "auto"
    precision: str = "fp32"
    mirrored: bool = True
    step: float = 0.5
    aggregation: Aggregation = Aggregation.CASE
    checkpoints: Literal["final", "all"] = "final"
    keep_features: bool = False
    keep_attention: bool = False


def predict(
    request: PredictRequest, on_case: Callable[[int, int, str], None] = lambda *_: None
) -> RunManifest:
    """Predicts every case; one that fails is reported by name and the others are still done (F80).

    Args:
        on_case: called with (cases done, cases in all, case id) after each case.

    Returns:
        The manifest; `outcome["failed"]` lists the cases that failed.

    Raises:
        RequestError: model, folds or settings do not fit, or a device is not there.
        DataError: no input, or damaged weights.
        StorageError: an answer could not be written; finished cases are kept.
    """
    started = time.time()
    loaded = load(
        request.model,
        folds=request.folds,
        checkpoints=request.checkpoints,
        device=request.device,
        precision=request.precision,
        mirrored=request.mirrored,
        step=request.step,
        aggregation=request.aggregation,
        keep_attention=request.keep_attention,
    )
    model = loaded.model
    cases = find_case_inputs(
        request.inputs[0] if len(request.inputs) == 1 else request.inputs,
        num_channels=model.description.num_channels,
        file_ending=model.description.file_ending,
    )
    _refuse_own_input(request.out, cases)
    rows: list[AnswerRow] = []
    features: dict[str, dict[str, np.ndarray]] = {}
    try:
        for outcome in _outcomes(loaded, cases, request):
            rows.append(AnswerRow.of(outcome, model.tasks))
            if isinstance(outcome, Prediction):
                features[outcome.case] = dict(outcome.features)
            on_case(len(rows), len(cases), outcome.case)
    finally:
        if rows:
            write_answers(request.out / ANSWERS_FILE, rows, model.tasks)
        if request.keep_features:
            write_features(request.out, features)
    manifest = RunManifest(
        command="predict",
        arguments=_arguments(request, loaded),
        outcome={
            "cases": len(rows),
            "failed": {row.case: row.message for row in rows if row.status == "failed"},
            "engines": [member.engine.name for member in loaded.members],
        },
        started=utc(started),
        seconds=time.time() - started,
    )
    manifest.write(request.out)
    return manifest


def _refuse_own_input(out: Path, cases: Sequence[CaseInput]) -> None:
    """A mask may be called like an image, and would replace it."""
    folders = {path.resolve().parent for case in cases for path in case.image_paths}
    if out.resolve() in folders:
        raise RequestError(
            f"--out {out}",
            found="the folder of the images",
            expected="another folder, since masks may be called like images",
            remedy="Choose another folder with --out.",
        )


def _arguments(request: PredictRequest, loaded: LoadedModel) -> dict[str, Any]:
    model, first = loaded.model, loaded.first_stage
    return {
        "model": str(model.folder),
        "first_stage": (
            {"model": str(first.model.folder), "folds": list(first.model.fold_files)}
            if first
            else None
        ),
        "inputs": [str(p) for p in request.inputs],
        "folds": list(model.fold_files),
        "mirrored": request.mirrored,
        "step": request.step,
        "aggregation": str(request.aggregation),
        "precision": request.precision,
        "checkpoints": request.checkpoints,
        "features": request.keep_features,
        "attention": request.keep_attention,
    }


def _outcomes(
    loaded: LoadedModel, cases: Sequence[CaseInput], request: PredictRequest
) -> Iterator[Outcome]:
    ending = loaded.model.description.file_ending

    def write(prediction: Prediction) -> None:
        target = request.out / f"{prediction.case}{ending}"
        if prediction.label_map is not None:
            write_label_map(target, prediction.label_map, prediction.geometry)
        write_attention(request.out, prediction)

    return predict_cohort(
        cases,
        read=read_image,
        predict=lambda case, volume: loaded.predict(volume, case),
        write=write,
    )
