"""`segduet.load(MODEL).predict(volume)`: a trained model ready to answer, for Python."""

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from segduet.core.errors import RequestError
from segduet.core.plan import ConfigurationPlan
from segduet.core.prediction import Prediction
from segduet.core.volume import Volume
from segduet.inference.aggregation import Aggregation
from segduet.inference.cascade import predict_for_next_stage
from segduet.inference.engine import Member
from segduet.inference.predictor import PredictionSettings, predict_case
from segduet.workflows.models import Checkpoints, Model, first_stage_folder, open_model


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A model with its networks in memory, one member per fold, or per model of a fold.

    Attributes:
        first_stage: of a cascade's second stage, the model whose label maps it is fed with.
    """

    model: Model
    members: tuple[Member, ...]
    settings: PredictionSettings
    first_stage: "LoadedModel | None" = None

    def predict(self, volume: Volume, case: str = "case") -> Prediction:
        """Segments and classifies one image.

        Args:
            volume: (C, Z, Y, X) with its geometry, see `segduet.io.images.read_image`.
            case: id in the answer and in messages.

        Raises:
            DataError: the image does not fit the model, such as another number of channels.
            RequestError: not enough memory.
        """
        previous, seconds = None, {}
        if self.first_stage is not None:
            started = time.perf_counter()
            previous = self.first_stage._for_next_stage(volume, case, self.model.configuration)
            seconds = {"first_stage": time.perf_counter() - started}
        prediction = predict_case(
            self.members,
            volume,
            case=case,
            plan=self.model.plan,
            configuration=self.model.configuration,
            labels=self.model.labels,
            settings=self.settings,
            previous=previous,
        )
        return dataclasses.replace(prediction, seconds={**seconds, **prediction.seconds})

    def _for_next_stage(
        self, volume: Volume, case: str, next_configuration: ConfigurationPlan
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
        )


def load(
    model: str | Path,
    *,
    folds: Sequence[str] | None = None,
    checkpoints: Literal["final", "all"] = "final",
    device: str = "auto",
    precision: str = "fp32",
    mirrored: bool = True,
    step: float = 0.5,
    aggregation: Aggregation = Aggregation.CASE,
    keep_attention: bool = False,
) -> LoadedModel:
    """Loads a model folder, ours or stock nnU-Net's; a cascade with both its stages.

    Args:
        model: model folder, or one of its fold folders.
        folds: folds to average; None takes all that are finished, as a first stage always does.
        checkpoints: `all` also averages the models each training kept on the way (`keep_every`).
        device: auto, cpu, cuda or cuda:N.
        precision: auto, fp32, bf16 or fp16.
        mirrored: average over mirrored windows, as nnU-Net does.
        step: distance between windows as a share of the patch.
        aggregation: how windows answer for their case.
        keep_attention: keep where the heads look, as a map beside the answers.

    Raises:
        RequestError: no such model, fold or device, a setting out of range, or a cascade without
            its first stage.
        DataError: damaged weights.
    """
    opened = open_model(Path(model), folds, Checkpoints(checkpoints))
    axes = opened.mirror_axes if mirrored else ()
    settings = PredictionSettings(
        step=step, mirror_axes=axes, aggregation=aggregation, keep_attention=keep_attention
    )
    first = None
    if before := first_stage_folder(opened):
        first = load(before, device=device, precision=precision, mirrored=mirrored, step=step)
        _require_fit(first.model, opened)
    members = _torch_members(opened, device=device, precision=precision)
    return LoadedModel(model=opened, members=members, settings=settings, first_stage=first)


def _require_fit(first: Model, second: Model) -> None:
    if not first.segments():
        raise RequestError(
            f"{first.folder}, first stage of a cascade",
            found="folds that only classify",
            expected="label maps, for the second stage to start from",
            remedy="Train the first stage again, with masks.",
        )
    axes = [model.plan.transpose_forward for model in (first, second)]
    if first.labels != second.labels or axes[0] != axes[1]:
        raise RequestError(
            f"{second.folder}, second stage of a cascade",
            found=f"other labels or another order of the axes than in {first.folder}",
            expected="two stages of one dataset and plan",
            remedy="Bring the first stage that it was trained after, or train both again.",
        )


def _torch_members(model: Model, *, device: str, precision: str) -> tuple[Member, ...]:
    from segduet.inference.engines.torch_engine import Precision, TorchEngine
    from segduet.training.allocator import keep_freed_memory
    from segduet.training.devices import choose_compute

    compute = choose_compute(device, precision)
    if compute.device.type == "cpu":
        keep_freed_memory()
    return tuple(
        Member(
            engine=TorchEngine(
                trained.network,
                num_spatial_dims=model.configuration.num_spatial_dims,
                device=str(compute.device),
                precision=Precision(compute.precision),
            ),
            tasks=trained.tasks,
        )
        for trained in model.networks()
    )
