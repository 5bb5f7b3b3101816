"""What is written down about a prediction: how it was asked for, what answers, what came of it."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from segduet.core.files import sha256
from segduet.workflows.calibrated_prediction import Calibrator
from segduet.workflows.loading import LoadedModel
from segduet.workflows.prediction_files import CohortOutcome
from segduet.workflows.prediction_request import PredictRequest

if TYPE_CHECKING:
    from segduet.workflows.cleaning import Cleaner


def arguments(request: PredictRequest, loaded: Sequence[LoadedModel]) -> dict[str, Any]:
    """The request as the manifest holds it."""
    model, first, asked = loaded[0].model, loaded[0].first_stage, request.loading
    return {
        "model": str(model.source),
        "first_stage": (
            {"model": str(first.model.source), "folds": list(first.model.folds)} if first else None
        ),
        "inputs": [str(p) for p in request.inputs],
        "folds": list(model.folds),
        "weights_sha256": dict(loaded[0].weights_sha256),
        "engine": asked.engine,
        "device": asked.device,
        "precision": asked.precision,
        "threads": asked.threads,
        "mode": asked.mode,
        "mirrored": asked.is_mirrored,
        "body_crop": asked.body_crop,
        "coarse": str(asked.coarse) if asked.coarse else None,
        "fit_windows": asked.fit_windows,
        "step": asked.step,
        "aggregation": str(asked.aggregation),
        "checkpoints": asked.checkpoints,
        "features": request.keep_features,
        "attention": asked.keep_attention,
        "also": [
            {
                "model": str(each.model.source),
                "folds": list(each.model.folds),
                "weights_sha256": dict(each.weights_sha256),
            }
            for each in loaded[1:]
        ],
        "ensemble": str(request.ensemble) if request.ensemble else None,
        "cleanup": str(request.cleanup) if request.cleanup else None,
        "calibration": _calibration_source(request, loaded),
        "shard": f"{request.shard.index}/{request.shard.count}",
        "resume": request.resume,
    }


def identity(
    request: PredictRequest, loaded: Sequence[LoadedModel], calibrator: Calibrator | None
) -> dict[str, Any]:
    """Everything that an answer depends on but the image; runs that go on must have it alike."""
    return {
        "weights": [_weights(each) for each in loaded],
        "engine": [_engine(each) for each in loaded],
        "shortcuts": [{**each.shortcuts, "coarse": None} for each in loaded],
        "settings": [_settings(each) for each in loaded],
        "ensemble": str(request.ensemble) if request.ensemble else None,
        "cleanup": sha256(request.cleanup) if request.cleanup else None,
        "calibration": calibrator.identity if calibrator else None,
        "features": request.keep_features,
    }


def outcome_of(
    done: CohortOutcome,
    request: PredictRequest,
    loaded: Sequence[LoadedModel],
    cleaner: "Cleaner | None",
    calibrator: Calibrator | None,
) -> dict[str, Any]:
    """What came of it, as the manifest and `--json` hold it."""
    choice = loaded[0].choice
    return {
        "cases": done.num_cases,
        "failed": done.failed,
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
        "calibration": _calibrated(calibrator, done) if calibrator else None,
        "regions": done.regions,
    }


def _calibrated(calibrator: Calibrator, done: CohortOutcome) -> dict[str, Any]:
    """What was applied, how many answers it withheld by task, and the cases it flagged."""
    flagged = done.flagged if calibrator.columns.has_consistency else None
    return {**calibrator.to_json(), "abstained": done.withheld, "flagged": flagged}


def _engine(loaded: LoadedModel) -> str:
    """What computes, but for the device; of 8-bit networks also what their float parts run in."""
    if loaded.choice.precision == "int8":
        return ", ".join(sorted({member.engine.name for member in loaded.members}))
    return f"{loaded.choice.engine} {loaded.choice.precision}"


def _weights(loaded: LoadedModel) -> dict[str, Any]:
    before, coarse = loaded.first_stage, loaded.coarse
    return {
        "networks": dict(loaded.weights_sha256),
        "first_stage": _weights(before) if before else None,
        "coarse": _weights(coarse) if coarse else None,
    }


def _calibration_source(request: PredictRequest, loaded: Sequence[LoadedModel]) -> str | None:
    choice = request.calibration
    if choice.file is not None:
        return str(choice.file)
    return "bundle" if loaded[0].calibration is not None and not choice.is_off else None


def _settings(loaded: LoadedModel) -> dict[str, Any]:
    """Settings of the windows that change an answer, which the batch of windows does not."""
    plain = dataclasses.asdict(loaded.settings)
    return {name: str(value) for name, value in plain.items() if name != "tile_batch"}
