"""`segduet predict`: masks in native geometry and class probabilities for every case (F63-F66)."""

import dataclasses
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from segduet.core.errors import RequestError
from segduet.core.manifest import RunManifest, utc
from segduet.core.prediction import Prediction
from segduet.core.volume import Volume
from segduet.inference.answers_file import AnswerRow, write_answers
from segduet.inference.cohort import Outcome, predict_cohort
from segduet.inference.ensembles import EnsembleRule
from segduet.inference.inputs import CaseInput, find_case_inputs
from segduet.io.images import read_stored_image, write_label_map
from segduet.workflows.ensembles import LoadedEnsemble, load_models
from segduet.workflows.head_files import write_attention, write_features
from segduet.workflows.load_request import COARSE_OFF, LoadRequest
from segduet.workflows.loading import LoadedModel
from segduet.workflows.models import Model

if TYPE_CHECKING:
    from segduet.workflows.cleaning import Cleaner

log = logging.getLogger(__name__)

ANSWERS_FILE = "predictions.csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictRequest:
    """What to predict, with what, and how.

    Attributes:
        loading: which model, run how.
        inputs: one folder of images, or image files.
        keep_features: write what each head read, `features_<task>.npz` with one vector per case.
        also: more models that answer together with the first, run alike.
        ensemble: how the probabilities of several models are averaged; None: arithmetically.
        cleanup: plan that mends the label maps; class answers stay what the networks said.
    """

    loading: LoadRequest
    inputs: Sequence[Path]
    out: Path
    keep_features: bool = False
    also: Sequence[Path] = ()
    ensemble: EnsembleRule | None = None
    cleanup: Path | None = None


def predict(
    request: PredictRequest,
    on_case: Callable[[int, int, str], None] = lambda *_: None,
    say: Callable[[str], None] = log.info,
) -> RunManifest:
    """Predicts every case; one that fails is reported by name and the others are still done (F80).

    Args:
        on_case: called with (cases done, cases in all, case id) after each case.
        say: told what takes long before the first case, such as a conversion.

    Returns:
        The manifest; `outcome["failed"]` lists the cases that failed.

    Raises:
        RequestError: model, folds or settings do not fit, an engine or device is not there, models
            that answer other questions, or a cleanup plan for other labels.
        DataError: no input, or damaged weights.
        StorageError: an answer could not be written; finished cases are kept.
    """
    started = time.time()
    cleaner = _cleaner(request.cleanup) if request.cleanup else None
    loaded = _load(request, say)
    model = loaded[0].model
    if cleaner is not None:
        cleaner.require_scheme(model.labels, whose=str(model.source))
    cases = find_case_inputs(
        request.inputs[0] if len(request.inputs) == 1 else request.inputs,
        num_channels=model.description.num_channels,
        file_ending=model.description.file_ending,
    )
    _refuse_own_input(request.out, cases)
    rows: list[AnswerRow] = []
    features: dict[str, dict[str, np.ndarray]] = {}
    regions: dict[str, Any] = {}
    try:
        for outcome in _outcomes(_answering(loaded, request, cleaner), cases, request, model):
            rows.append(AnswerRow.of(outcome, model.tasks))
            if isinstance(outcome, Prediction):
                features[outcome.case] = dict(outcome.features)
                if outcome.seen is not None:
                    regions[outcome.case] = dataclasses.asdict(outcome.seen)
            on_case(len(rows), len(cases), outcome.case)
    finally:
        if rows:
            write_answers(request.out / ANSWERS_FILE, rows, model.tasks)
        if request.keep_features:
            write_features(request.out, features)
    manifest = RunManifest(
        command="predict",
        arguments=_arguments(request, loaded),
        outcome={**_outcome(rows, request, loaded, cleaner), "regions": regions},
        warnings=[warning for each in loaded for warning in each.warnings],
        started=utc(started),
        seconds=time.time() - started,
    )
    manifest.write(request.out)
    return manifest


def _cleaner(plan: Path) -> "Cleaner":
    from segduet.workflows.cleaning import Cleaner  # scipy; a start without it is faster

    return Cleaner(plan)


def _load(request: PredictRequest, say: Callable[[str], None]) -> tuple[LoadedModel, ...]:
    """The model, and those that answer together with it."""
    if request.ensemble is not None and not request.also:
        raise RequestError(
            "--ensemble",
            found="one model",
            expected="several, whose probabilities can be averaged",
            remedy="Name another one with --also, or leave --ensemble out.",
        )
    asked = request.loading
    if request.also and asked.is_fast:
        asked = _without_regions(asked)
    others = [dataclasses.replace(asked, model=path) for path in request.also]
    return load_models([asked, *others], say)


def _without_regions(asked: LoadRequest) -> LoadRequest:
    """The request of one of several models, which must all see the same part of an image."""
    named = {"--body-crop": asked.body_crop, "--coarse": asked.coarse not in (None, COARSE_OFF)}
    for option, is_wanted in named.items():
        if is_wanted:
            raise RequestError(
                option,
                found="several models, by --also",
                expected="one model",
                remedy="Leave one of the two options out.",
            )
    return dataclasses.replace(asked, body_crop=False, coarse=COARSE_OFF)


def _answering(
    loaded: tuple[LoadedModel, ...], request: PredictRequest, cleaner: "Cleaner | None"
) -> Callable[[str, Volume], Prediction]:
    rule = request.ensemble or EnsembleRule.ARITHMETIC
    together = LoadedEnsemble(models=loaded, rule=rule) if request.also else loaded[0]
    if cleaner is None:
        return lambda case, volume: together.predict(volume, case)
    return lambda case, volume: cleaner.cleaned(together.predict(volume, case))


def _outcome(
    rows: Sequence[AnswerRow],
    request: PredictRequest,
    loaded: Sequence[LoadedModel],
    cleaner: "Cleaner | None",
) -> dict[str, Any]:
    choice = loaded[0].choice
    return {
        "cases": len(rows),
        "failed": {row.case: row.message for row in rows if row.status == "failed"},
        "engine": {
            "name": str(choice.engine),
            "device": choice.device,
            "precision": str(choice.precision),
            "why": choice.why,
            "threads": request.loading.threads,
            "members": [member.engine.name for each in loaded for member in each.members],
        },
        "mode": request.loading.mode,
        "shortcuts": dict(loaded[0].shortcuts),
        "cleanup": cleaner.to_json() if cleaner else None,
    }


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


def _arguments(request: PredictRequest, loaded: Sequence[LoadedModel]) -> dict[str, Any]:
    model, first, asked = loaded[0].model, loaded[0].first_stage, request.loading
    return {
        "model": str(model.source),
        "first_stage": (
            {"model": str(first.model.source), "folds": list(first.model.folds)} if first else None
        ),
        "inputs": [str(p) for p in request.inputs],
        "folds": list(model.folds),
        "engine": asked.engine,
        "device": asked.device,
        "precision": asked.precision,
        "threads": asked.threads,
        "mode": asked.mode,
        "mirrored": asked.is_mirrored,
        "body_crop": asked.body_crop,
        "coarse": str(asked.coarse) if asked.coarse else None,
        "step": asked.step,
        "aggregation": str(asked.aggregation),
        "checkpoints": asked.checkpoints,
        "features": request.keep_features,
        "attention": asked.keep_attention,
        "also": [
            {"model": str(each.model.source), "folds": list(each.model.folds)}
            for each in loaded[1:]
        ],
        "ensemble": str(request.ensemble) if request.ensemble else None,
        "cleanup": str(request.cleanup) if request.cleanup else None,
    }


def _outcomes(
    answering: Callable[[str, Volume], Prediction],
    cases: Sequence[CaseInput],
    request: PredictRequest,
    model: Model,
) -> Iterator[Outcome]:
    ending = model.description.file_ending

    def write(prediction: Prediction) -> None:
        target = request.out / f"{prediction.case}{ending}"
        if prediction.label_map is not None:
            write_label_map(target, prediction.label_map, prediction.geometry)
        write_attention(request.out, prediction)

    return predict_cohort(cases, read=read_stored_image, predict=answering, write=write)
