"""`segduet.load(MODEL).predict(volume)`: the answers of `segduet predict`, from Python."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from segduet.inference.aggregation import Aggregation
from segduet.workflows.calibrated_prediction import (
    CalibrationChoice,
    calibration_warnings,
    calibrator_of,
)
from segduet.workflows.load_request import LoadRequest
from segduet.workflows.loading import LoadedModel, load_model


def load(
    model: str | Path,
    *,
    folds: Sequence[str] | None = None,
    checkpoints: Literal["final", "all"] = "final",
    engine: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    cache: str | Path | None = None,
    mode: Literal["exact", "fast"] = "exact",
    mirrored: bool | None = None,
    body_crop: bool | None = None,
    coarse: str | Path | None = None,
    fit_windows: bool | None = None,
    step: float = 0.5,
    aggregation: Aggregation = Aggregation.CASE,
    keep_attention: bool = False,
    calibration: str | Path | None = None,
    alpha: float | None = None,
    no_calibration: bool = False,
) -> LoadedModel:
    """Loads a model folder, ours or stock nnU-Net's, or a bundle; a cascade with both its stages.

    What the first arguments mean stands with `LoadRequest`; what went otherwise than expected, or
    makes the promises of a calibration uncertain, stands in the model's `warnings`.

    Args:
        calibration: file of `segduet calibrate learn`; None takes the one that a bundle carries.
        alpha: level of the sets; None takes the first that was learned.
        no_calibration: leave out the one that a bundle carries.

    Raises:
        RequestError: no such model, fold, engine or device, an engine that is not installed, a
            setting out of range, a cascade without its first stage, a shortcut that does not fit
            the model or the mode, or a calibration of another model or with an unknown level.
        DataError: damaged weights, or a bundle that is not what it should be.
        StorageError: a converted network could not be kept anywhere.
    """
    request = LoadRequest(
        model=Path(model),
        folds=folds,
        checkpoints=checkpoints,
        engine=engine,
        device=device,
        precision=precision,
        threads=threads,
        cache=Path(cache) if cache else None,
        mode=mode,
        mirrored=mirrored,
        body_crop=body_crop,
        coarse=coarse,
        fit_windows=fit_windows,
        step=step,
        aggregation=aggregation,
        keep_attention=keep_attention,
    )
    file = Path(calibration) if calibration else None
    return _calibrated(request, CalibrationChoice(file=file, alpha=alpha, is_off=no_calibration))


def _calibrated(request: LoadRequest, choice: CalibrationChoice) -> LoadedModel:
    given = choice.read()
    loaded = load_model(request)
    calibrator = calibrator_of(choice, given, [loaded])
    if calibrator is None:
        return loaded
    return dataclasses.replace(
        loaded,
        judged=calibrator.judged,
        warnings=(*loaded.warnings, *calibration_warnings(calibrator, request, loaded)),
    )
