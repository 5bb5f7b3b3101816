"""What `predict` and `segduet.load` are asked for."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from segduet.core.errors import RequestError
from segduet.inference.aggregation import Aggregation
from segduet.inference.engines.choice import EngineChoice, EngineRequest, PredictionMode
from segduet.inference.engines.runtimes import EngineName
from segduet.inference.settings import PredictionSettings

#: `coarse=off`: without the coarse network that a bundle holds.
COARSE_OFF = "off"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadRequest:
    """Which model, run how.

    Attributes:
        model: model folder, one of its fold folders, or a bundle.
        folds: folds to average; None takes all that are finished.
        checkpoints: `all` also averages the models each training kept on the way.
        engine: auto, torch, openvino, onnx or tensorrt.
        device: auto, cpu, cuda or cuda:N.
        precision: auto, fp32, bf16, fp16 or int8; in exact mode auto is fp32, unless the model
            holds nothing but 8-bit networks; in fast mode it is the fastest there is.
        threads: of the engine on a CPU; None leaves the number to it.
        cache: where converted networks are kept; None: in the model folder, or where that cannot
            be written in the user's cache folder.
        mode: exact, nnU-Net's own answer; fast takes shortcuts, each a setting of its own.
        mirrored: average over mirrored windows, as nnU-Net does; None: in exact mode.
        body_crop: look at the body of a CT only; None: in fast mode, where the plan says CT.
        coarse: model of low resolution that finds the region to look at, fast mode only; None takes
            the one a bundle holds, `off` none.
        fit_windows: fit the window to an image of about the patch's size, smaller or larger,
            instead of padding or tiling it; None: in fast mode, where the networks allow it.
        step: distance between windows as a share of the patch.
        aggregation: how windows answer for their case.
        keep_attention: keep where the heads look.
        at_once: cases to answer side by side, each by its share of the threads; above 1 for
            OpenVINO only.
    """

    model: Path
    folds: Sequence[str] | None = None
    checkpoints: Literal["final", "all"] = "final"
    engine: str = "auto"
    device: str = "auto"
    precision: str = "auto"
    threads: int | None = None
    cache: Path | None = None
    mode: Literal["exact", "fast"] = "exact"
    mirrored: bool | None = None
    body_crop: bool | None = None
    coarse: str | Path | None = None
    fit_windows: bool | None = None
    step: float = 0.5
    aggregation: Aggregation = Aggregation.CASE
    keep_attention: bool = False
    at_once: int = 1

    @property
    def is_fast(self) -> bool:
        """Whether shortcuts may be taken."""
        return self.mode == "fast"

    @property
    def is_mirrored(self) -> bool:
        """Whether to average over mirrored windows."""
        return not self.is_fast if self.mirrored is None else self.mirrored

    @property
    def wanted(self) -> EngineRequest:
        """What is asked for of the engine.

        Raises:
            RequestError: there is no engine of this name.
        """
        if self.engine not in list(EngineName):
            raise RequestError(
                f"--engine {self.engine}",
                found="no engine of this name",
                expected=f"one of {', '.join(EngineName)}",
                remedy="Choose one of them.",
            )
        return EngineRequest(
            engine=EngineName(self.engine),
            device=self.device,
            precision=self.precision,
            mode=PredictionMode(self.mode),
            keep_attention=self.keep_attention,
        )

    @property
    def settings(self) -> PredictionSettings:
        """How cases are predicted, but for the axes to mirror along, which the model knows."""
        return PredictionSettings(
            step=self.step, aggregation=self.aggregation, keep_attention=self.keep_attention
        )

    def require_mode(self) -> None:
        """Checks the mode, and that settings of fast mode are given in fast mode only.

        Raises:
            RequestError: there is no mode of this name, or a setting does not fit it.
        """
        if self.mode not in list(PredictionMode):
            raise RequestError(
                f"--mode {self.mode}",
                found="no mode of this name",
                expected=f"one of {', '.join(PredictionMode)}",
                remedy="Choose one of them.",
            )
        given = {
            "--body-crop": self.body_crop,
            "--coarse": self.coarse,
            "--fit-windows": self.fit_windows,
        }
        extra = [name for name, value in given.items() if value is not None]
        if extra and not self.is_fast:
            raise RequestError(
                extra[0],
                found="--mode exact",
                expected="--mode fast, which takes shortcuts",
                remedy="Add --mode fast, or leave the option out.",
            )

    @property
    def _fit_windows_elsewhere(self) -> bool | None:
        """For another model: off where it was switched off, else where its networks allow it."""
        return False if self.fit_windows is False else None

    def for_first_stage(self, model: Path, choice: EngineChoice) -> "LoadRequest":
        """The same for the stage before, on the same engine: all folds, and only their masks.

        Args:
            model: folder of that stage.
            choice: what runs the second stage.
        """
        return dataclasses.replace(
            self,
            model=model,
            folds=None,
            checkpoints="final",
            engine=str(choice.engine),
            device=choice.device,
            precision=choice.precision,
            body_crop=None,
            coarse=COARSE_OFF if self.is_fast else None,
            fit_windows=self._fit_windows_elsewhere,
            aggregation=Aggregation.CASE,
            keep_attention=False,
        )

    def for_coarse_look(self) -> "LoadRequest":
        """The same for the coarse model: in its own fastest precision, and only its masks."""
        return dataclasses.replace(
            self,
            folds=None,
            checkpoints="final",
            precision="auto" if self.precision == "int8" else self.precision,
            body_crop=None,
            coarse=COARSE_OFF,
            fit_windows=self._fit_windows_elsewhere,
            mirrored=False,
            aggregation=Aggregation.CASE,
            keep_attention=False,
        )
