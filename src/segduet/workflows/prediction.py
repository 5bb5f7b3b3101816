"""`segduet predict`: masks in native geometry and class probabilities for every case (F63-F66)."""

import dataclasses
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from segduet.core.description import DatasetDescription
from segduet.core.errors import RequestError
from segduet.core.manifest import RunManifest, utc
from segduet.core.prediction import Prediction
from segduet.core.volume import Volume
from segduet.inference.answers_file import AnswerRow
from segduet.inference.case_input import CaseInput
from segduet.inference.cohort import Outcome, predict_cohort
from segduet.inference.ensembles import EnsembleRule
from segduet.inference.inputs import find_case_inputs
from segduet.inference.progress import FinishedCase, Progress, Stamps
from segduet.io.images import read_stored_image, write_label_map
from segduet.workflows.calibrated_prediction import (
    Calibrator,
    calibration_warnings,
    calibrator_of,
)
from segduet.workflows.ensembles import LoadedEnsemble, load_models
from segduet.workflows.head_files import write_attention
from segduet.workflows.load_request import COARSE_OFF, LoadRequest
from segduet.workflows.loading import LoadedModel
from segduet.workflows.models import Model
from segduet.workflows.prediction_files import (
    CohortOutcome,
    manifest_name,
    mask_file,
    write_tables,
    written_files,
)
from segduet.workflows.prediction_record import arguments, identity, outcome_of
from segduet.workflows.prediction_request import PredictRequest

if TYPE_CHECKING:
    from segduet.workflows.cleaning import Cleaner

log = logging.getLogger(__name__)


def predict(
    request: PredictRequest,
    on_case: Callable[[int, int, str], None] = lambda *_: None,
    say: Callable[[str], None] = log.info,
    *,
    loaded: tuple[LoadedModel, ...] | None = None,
) -> RunManifest:
    """Predicts every case; one that fails is reported by name and the others are still done (F80).

    What is done stands in `progress.jsonl`, so a run that stopped can go on, and memory does not
    grow with the cohort.

    Args:
        on_case: called with (cases done, cases in all, case id) after each case.
        say: told what takes long before the first case, such as a conversion.
        loaded: what `load_answering` made of the same model and settings; None loads it.

    Returns:
        The manifest; `outcome["failed"]` lists the cases that failed.

    Raises:
        RequestError: model, folds or settings do not fit, an engine or device is not there, models
            that answer other questions, a cleanup plan for other labels, a calibration of another
            model, or a prediction that is to be resumed was begun with another model or settings.
        DataError: no input, or damaged weights.
        StorageError: an answer could not be written; finished cases are kept.
    """
    started = time.time()
    cleaner = _cleaner(request.cleanup) if request.cleanup else None
    calibration = request.calibration.read()
    loaded = loaded or load_answering(request, say)
    model = loaded[0].model
    if cleaner is not None:
        cleaner.require_scheme(model.labels, whose=str(model.source))
    calibrator = calibrator_of(request.calibration, calibration, loaded)
    cases = share_of_cases(request, model.description)
    with Progress(
        request.out,
        identity(request, loaded, calibrator),
        shard=request.shard,
        resume=request.resume,
    ) as progress:
        progress.remove_unfinished(written_files(request, model, [case.case for case in cases]))
        try:
            waiting = [case for case in cases if not _is_done(case, progress, request, model)]
            num_done = len(cases) - len(waiting)
            answering = _answering(loaded, request, cleaner)
            inputs = {case.case: case for case in waiting}
            for outcome in _outcomes(answering, waiting, request, model, loaded[0].cases_at_once):
                images = inputs[outcome.case].stamps
                progress.add(_finished(outcome, images, request, model, calibrator))
                num_done += 1
                on_case(num_done, len(cases), outcome.case)
        finally:
            done = _settled(progress, [case.case for case in cases], request, model, calibrator)
    manifest = RunManifest(
        command="predict",
        arguments=arguments(request, loaded),
        outcome=outcome_of(done, request, loaded, cleaner, calibrator),
        warnings=[
            *(warning for each in loaded for warning in each.warnings),
            *(calibration_warnings(calibrator, request.loading, loaded[0]) if calibrator else ()),
        ],
        started=utc(started),
        seconds=time.time() - started,
    )
    manifest.write(request.out, manifest_name(request.shard))
    return manifest


def share_of_cases(request: PredictRequest, images: DatasetDescription) -> Sequence[CaseInput]:
    """The cases that a run predicts: all of the input, or its shard of them.

    Args:
        request: where they are.
        images: what the model takes.

    Raises:
        RequestError: the answers would replace the images.
        DataError: no input, or none that the model takes.
    """
    cases = find_case_inputs(
        request.inputs[0] if len(request.inputs) == 1 else request.inputs,
        num_channels=images.num_channels,
        file_ending=images.file_ending,
    )
    _refuse_own_input(request.out, cases)
    return request.shard.of(cases)


def _is_done(case: CaseInput, progress: Progress, request: PredictRequest, model: Model) -> bool:
    """Whether an earlier run answered this case, and its label map is still there."""
    has_mask = not model.segments or mask_file(request, model, case.case).is_file()
    return has_mask and progress.is_ok(case.case, case.stamps)


def _finished(
    outcome: Outcome,
    images: Stamps,
    request: PredictRequest,
    model: Model,
    calibrator: Calibrator | None,
) -> FinishedCase:
    row = (calibrator.row if calibrator else AnswerRow.of)(outcome, model.tasks)
    if not isinstance(outcome, Prediction):
        return FinishedCase(images=images, row=row)
    features = outcome.features if request.keep_features else {}
    return FinishedCase(
        images=images,
        row=row,
        region=dataclasses.asdict(outcome.seen) if outcome.seen else None,
        features={task: tuple(map(float, values)) for task, values in features.items()},
    )


def _settled(
    progress: Progress,
    cases: Sequence[str],
    request: PredictRequest,
    model: Model,
    calibrator: Calibrator | None,
) -> CohortOutcome:
    """Writes the tables of the cases that are done, and counts them."""
    done = CohortOutcome.of(progress, cases)
    if done.num_cases and request.shard.is_all:
        write_tables(
            request.out,
            progress,
            cases,
            tasks=model.tasks,
            with_features=request.keep_features,
            judged=calibrator.columns if calibrator else None,
        )
    return done


def _cleaner(plan: Path) -> "Cleaner":
    from segduet.workflows.cleaning import Cleaner  # scipy; a start without it is faster

    return Cleaner(plan)


def load_answering(
    request: PredictRequest, say: Callable[[str], None] = log.info
) -> tuple[LoadedModel, ...]:
    """Loads the model, and those that answer together with it.

    Args:
        request: which ones, run how.
        say: told what takes long, such as a conversion.

    Raises:
        RequestError: they are not there, do not fit each other, or an option has no effect.
        DataError: damaged weights, or no input.
    """
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
    return load_models(
        [asked, *others], say, num_cases=lambda images: len(share_of_cases(request, images))
    )


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


def _outcomes(
    answering: Callable[[str, Volume], Prediction],
    cases: Sequence[CaseInput],
    request: PredictRequest,
    model: Model,
    at_once: int,
) -> Iterator[Outcome]:
    def write(prediction: Prediction) -> None:
        if prediction.label_map is not None:
            target = mask_file(request, model, prediction.case)
            write_label_map(target, prediction.label_map, prediction.geometry)
        write_attention(request.out, prediction)

    return predict_cohort(
        cases, read=read_stored_image, predict=answering, write=write, at_once=at_once
    )
