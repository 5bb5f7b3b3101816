"""A trained model with its networks in memory, ready to answer."""

import dataclasses
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from segduet.core.description import DatasetDescription
from segduet.core.errors import RequestError
from segduet.core.plan import ConfigurationPlan
from segduet.core.prediction import Prediction
from segduet.core.prepared import Box
from segduet.core.volume import Volume
from segduet.inference.bundles.manifest import CarriedCalibration
from segduet.inference.cascade import predict_for_next_stage
from segduet.inference.coarse import CoarseLook, look_coarsely
from segduet.inference.engine import Member
from segduet.inference.engines.choice import EngineChoice
from segduet.inference.predictor import predict_case
from segduet.inference.regional import RegionSearch, predict_in_region
from segduet.inference.settings import PredictionSettings
from segduet.workflows.load_request import COARSE_OFF, LoadRequest
from segduet.workflows.models import Checkpoints, Model
from segduet.workflows.ready_networks import (
    ReadyNetworks,
    choose_runtime,
    most_at_once,
    ready_networks,
)
from segduet.workflows.shortcuts import (
    crops_body,
    no_body_crop_because,
    no_fitted_windows_because,
    require_coarse_fit,
    require_masks,
    window_multiple,
)
from segduet.workflows.sources import (
    OpenedBundle,
    OpenedFolder,
    Source,
    first_stage,
    open_source,
    weights_sha256,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A model with its networks in memory, one member per fold, or per model of a fold.

    Attributes:
        choice: what runs them, and why.
        first_stage: of a cascade's second stage, the model whose label maps it is fed with.
        crops_body: look at the body of a CT only.
        coarse: finds the region to look at; None looks at everything.
        shortcuts: what fast mode leaves out, for the manifest; empty in exact mode.
        weights_sha256: network -> hash of the weights that answer, or that were converted.
        calibration: the one its bundle carries; None without.
        cases_at_once: how many threads should ask for predictions; several where that is faster.
        judged: makes calibrated answers of the networks' own; None leaves them as they are.
        warnings: what went otherwise than expected while it was loaded, one sentence each.
    """

    model: Model
    members: tuple[Member, ...]
    settings: PredictionSettings
    choice: EngineChoice
    first_stage: "LoadedModel | None" = None
    crops_body: bool = False
    coarse: "LoadedModel | None" = None
    shortcuts: Mapping[str, str | bool | None] = field(default_factory=dict)
    weights_sha256: Mapping[str, str] = field(default_factory=dict)
    calibration: CarriedCalibration | None = None
    cases_at_once: int = 1
    judged: Callable[[Prediction], Prediction] | None = None
    warnings: tuple[str, ...] = ()

    def predict(self, volume: Volume, case: str = "case") -> Prediction:
        """Segments and classifies one image.

        Args:
            volume: (C, Z, Y, X) with its geometry, see `segduet.io.images.read_image`.
            case: id in the answer and in messages.

        Raises:
            DataError: the image does not fit the model, such as another number of channels.
            RequestError: not enough memory.
        """
        answered = self._answered(volume, case)
        return self.judged(answered) if self.judged else answered

    def _answered(self, volume: Volume, case: str) -> Prediction:
        if self.coarse is None and not self.crops_body:
            return self._predict_in(volume, case, None)
        search = RegionSearch(
            plan=self.model.plan,
            configuration=self.model.configuration,
            step=self.settings.step,
            crops_body=self.crops_body,
            look=self.coarse._look if self.coarse else None,
        )
        return predict_in_region(
            search, volume, case, lambda region: self._predict_in(volume, case, region)
        )

    def _predict_in(self, volume: Volume, case: str, region: Box | None) -> Prediction:
        started = time.perf_counter()
        previous = self.fed_with(volume, case, region)
        seconds = {} if previous is None else {"first_stage": time.perf_counter() - started}
        prediction = predict_case(
            self.members,
            volume,
            case=case,
            plan=self.model.plan,
            configuration=self.model.configuration,
            labels=self.model.labels,
            settings=self.settings,
            previous=previous,
            region=region,
        )
        return dataclasses.replace(prediction, seconds={**seconds, **prediction.seconds})

    def fed_with(self, volume: Volume, case: str, region: Box | None = None) -> np.ndarray | None:
        """What the first stage of a cascade makes of an image, on the second's prepared grid.

        (Z, Y, X) int16; None outside a cascade. Arguments and errors are those of `predict`; both
        stages look at the same region, as in `prepare_case`.
        """
        if self.first_stage is None:
            return None
        return self.first_stage._for_next_stage(volume, case, self.model.configuration, region)

    def _look(self, volume: Volume, case: str, region: Box) -> CoarseLook:
        return look_coarsely(
            self.members,
            volume,
            case=case,
            plan=self.model.plan,
            configuration=self.model.configuration,
            labels=self.model.labels,
            settings=self.settings,
            region=region,
        )

    def _for_next_stage(
        self,
        volume: Volume,
        case: str,
        next_configuration: ConfigurationPlan,
        region: Box | None,
    ) -> np.ndarray:
        return predict_for_next_stage(
            self.members,
            volume,
            case=case,
            plan=self.model.plan,
            configuration=self.model.configuration,
            next_configuration=next_configuration,
            labels=self.model.labels,
            settings=self.settings,
            region=region,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundModel:
    """A model that is there, and what will run it; no networks are in memory.

    Attributes:
        request: which model, run how.
        source: what the request names.
        choice: what runs it, and why.
    """

    request: LoadRequest
    source: Source
    choice: EngineChoice

    @property
    def description(self) -> DatasetDescription:
        """What the model was trained on, and so what images it takes."""
        source = self.source
        opened = source.folder if isinstance(source, OpenedFolder) else source.bundle
        return opened.description

    @property
    def most_at_once(self) -> int:
        """How many of many cases are best answered side by side."""
        return most_at_once(self.source, self.choice, self.request.threads)

    def load(self, say: Callable[[str], None], *, at_once: int) -> LoadedModel:
        """Loads the networks, with those of the stage before and of the coarse look.

        Args:
            say: told what takes long, such as a conversion.
            at_once: cases that will be answered side by side, at most `most_at_once`.

        Raises:
            SegduetError: what `load_model` raises.
        """
        request = dataclasses.replace(self.request, at_once=at_once)
        return _loaded(self.source, self.choice, request, say)


def load_model(request: LoadRequest, say: Callable[[str], None] = log.info) -> LoadedModel:
    """Loads a model folder, ours or stock nnU-Net's, or a bundle; a cascade with both its stages.

    It answers as its networks do: a calibration that its bundle carries is not applied.

    Args:
        say: told what takes long, such as a conversion.

    Raises:
        RequestError: no such model, fold, engine or device, an engine that is not installed, a
            setting out of range, a cascade without its first stage, or a shortcut that does not fit
            the model or the mode.
        DataError: damaged weights, or a bundle that is not what it should be.
        StorageError: a converted network could not be kept anywhere.
    """
    return find_model(request).load(say, at_once=request.at_once)


def find_model(request: LoadRequest) -> FoundModel:
    """Finds a model and chooses what runs it.

    Raises:
        RequestError: no such model, fold, engine or mode, or an engine that is not installed.
        DataError: a damaged folder, or a bundle that is not what it should be.
        StorageError: an archive could not be unpacked.
    """
    request.require_mode()
    checkpoints = Checkpoints(request.checkpoints)
    source = open_source(request.model, request.folds, checkpoints, request.cache)
    choice = choose_runtime(source, request.wanted)
    return FoundModel(request=request, source=source, choice=choice)


def _loaded(
    source: Source, choice: EngineChoice, request: LoadRequest, say: Callable[[str], None]
) -> LoadedModel:
    settings = request.settings
    first = None
    if before := first_stage(source):
        first = load_model(request.for_first_stage(before, choice), say)
    ready = ready_networks(
        source,
        choice,
        request.threads,
        say,
        with_strides=request.is_fast,
        at_once=request.at_once,
    )
    if first is not None:
        _require_fit(first.model, ready.model)
    axes = ready.model.mirror_axes if request.is_mirrored else ()
    loaded = LoadedModel(
        model=ready.model,
        members=ready.members,
        settings=dataclasses.replace(settings, mirror_axes=axes),
        choice=choice,
        first_stage=first,
        weights_sha256=weights_sha256(source),
        calibration=(
            source.bundle.manifest.calibration if isinstance(source, OpenedBundle) else None
        ),
        cases_at_once=request.at_once,
        warnings=(*(first.warnings if first else ()), *ready.warnings),
    )
    if not request.is_fast:
        return loaded
    fitted = _with_fitted_windows(loaded, ready, request.fit_windows)
    return _with_shortcuts(fitted, source, request, say)


def _with_fitted_windows(
    loaded: LoadedModel, ready: ReadyNetworks, wanted: bool | None
) -> LoadedModel:
    about = (ready.model, ready.total_strides, loaded.choice.engine)
    multiple = window_multiple(*about, wanted)
    why_not = no_fitted_windows_because(*about) or "it was switched off"
    return dataclasses.replace(
        loaded,
        settings=dataclasses.replace(loaded.settings, window_multiple=multiple),
        shortcuts={
            "fit_windows": multiple is not None,
            "no_fit_windows_because": why_not if multiple is None else None,
        },
    )


def _with_shortcuts(
    loaded: LoadedModel, source: Source, request: LoadRequest, say: Callable[[str], None]
) -> LoadedModel:
    model = loaded.model
    is_cropped = crops_body(model, request.body_crop)
    coarse = None
    if found := _coarse_source(source, request):
        asked = request.for_coarse_look()
        coarse = _loaded(found, choose_runtime(found, asked.wanted), asked, say)
        where = f"--coarse {coarse.model.source}"
        require_coarse_fit(coarse.model, model, where=where)
        require_masks(coarse.model.segments, model.segments, where=where)
    return dataclasses.replace(
        loaded,
        crops_body=is_cropped,
        coarse=coarse,
        shortcuts={
            **loaded.shortcuts,
            "precision": loaded.choice.precision,
            "mirrored": request.is_mirrored,
            "body_crop": is_cropped,
            "no_body_crop_because": (
                None if is_cropped else no_body_crop_because(model) or "it was switched off"
            ),
            "coarse": str(coarse.model.source) if coarse else None,
            "coarse_precision": coarse.choice.precision if coarse else None,
            "coarse_fit_windows": coarse.shortcuts["fit_windows"] if coarse else None,
        },
        warnings=(*loaded.warnings, *(coarse.warnings if coarse else ())),
    )


def _coarse_source(source: Source, request: LoadRequest) -> Source | None:
    if request.coarse == COARSE_OFF:
        return None
    if request.coarse is not None:
        return open_source(Path(request.coarse), None, Checkpoints.FINAL, request.cache)
    if isinstance(source, OpenedFolder) or source.bundle.coarse is None:
        return None
    inner = source.bundle.coarse
    return OpenedBundle(path=inner.folder, bundle=inner, cache=source.cache)


def _require_fit(first: Model, second: Model) -> None:
    if not first.segments:
        raise RequestError(
            f"{first.source}, first stage of a cascade",
            found="folds that only classify",
            expected="label maps, for the second stage to start from",
            remedy="Train the first stage again, with masks.",
        )
    axes = [model.plan.transpose_forward for model in (first, second)]
    if first.labels != second.labels or axes[0] != axes[1]:
        raise RequestError(
            f"{second.source}, second stage of a cascade",
            found=f"other labels or another order of the axes than in {first.source}",
            expected="two stages of one dataset and plan",
            remedy="Bring the first stage that it was trained after, or train both again.",
        )
