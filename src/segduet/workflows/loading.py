"""`segduet.load(MODEL).predict(volume)`: a trained model ready to answer, for Python."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from segduet.core.prediction import Prediction
from segduet.core.volume import Volume
from segduet.inference.aggregation import Aggregation
from segduet.inference.engine import Engine
from segduet.inference.predictor import PredictionSettings, predict_case
from segduet.workflows.models import Model, open_model


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A model with its networks in memory, one engine per fold."""

    model: Model
    engines: tuple[Engine, ...]
    settings: PredictionSettings

    def predict(self, volume: Volume, case: str = "case") -> Prediction:
        """Segments and classifies one image.

        Args:
            volume: (C, Z, Y, X) with its geometry, see `segduet.io.images.read_image`.
            case: id in the answer and in messages.

        Raises:
            DataError: the image does not fit the model, such as another number of channels.
            RequestError: not enough memory.
        """
        return predict_case(
            self.engines,
            volume,
            case=case,
            plan=self.model.plan,
            configuration=self.model.configuration,
            labels=self.model.labels,
            tasks=self.model.tasks,
            settings=self.settings,
        )


def load(
    model: str | Path,
    *,
    folds: Sequence[str] | None = None,
    device: str = "auto",
    precision: str = "fp32",
    mirrored: bool = True,
    step: float = 0.5,
    aggregation: Aggregation = Aggregation.EVIDENCE,
) -> LoadedModel:
    """Loads a model folder, ours or stock nnU-Net's.

    Args:
        model: model folder, or one of its fold folders.
        folds: folds to average; None takes all that are finished.
        device: auto, cpu, cuda or cuda:N.
        precision: auto, fp32, bf16 or fp16.
        mirrored: average over mirrored windows, as nnU-Net does.
        step: distance between windows as a share of the patch.
        aggregation: how windows are weighed for the class answers.

    Raises:
        RequestError: no such model, fold or device, or a setting out of range.
        DataError: damaged weights.
    """
    opened = open_model(Path(model), folds)
    axes = opened.mirror_axes if mirrored else ()
    settings = PredictionSettings(step=step, mirror_axes=axes, aggregation=aggregation)
    engines = _torch_engines(opened, device=device, precision=precision)
    return LoadedModel(model=opened, engines=engines, settings=settings)


def _torch_engines(model: Model, *, device: str, precision: str) -> tuple[Engine, ...]:
    from segduet.inference.engines.torch_engine import Precision, TorchEngine
    from segduet.training.allocator import keep_freed_memory
    from segduet.training.devices import choose_compute

    compute = choose_compute(device, precision)
    if compute.device.type == "cpu":
        keep_freed_memory()
    return tuple(
        TorchEngine(
            network,
            num_spatial_dims=model.configuration.num_spatial_dims,
            device=str(compute.device),
            precision=Precision(compute.precision),
        )
        for network in model.networks()
    )
