"""Ends a training that no longer gets better, after letting its rate fall to zero (F50)."""

import logging
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveInt

log = logging.getLogger(__name__)

#: monitor -> where its value stands in an epoch's record.
_PLACES = {
    "validation_loss": ("validation", "loss"),
    "patch_dice": ("validation", "patch_dice"),
    "joint_score": ("full_case", "score"),
}


class NoEarlyStopping(BaseModel):
    """Trains for all epochs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["off"] = "off"


class PlateauStopping(BaseModel):
    """Stops on a plateau of a validation figure.

    Attributes:
        monitor: `validation_loss` is the balanced loss on the validation patches (lower is better),
            `patch_dice` their Dice, `joint_score` that of the full validation cases (higher is
            better). The figure is smoothed by an exponential moving average.
        smoothing: decay of that average; 0 takes the figures as they are (nnU-Net's 0.9 for its
            pseudo Dice).
        patience: epochs without improvement after which the training is stopped.
        min_delta: what counts as an improvement over the best smoothed value.
        anneal_epochs: epochs over which the rate then falls linearly to zero. Stopping nnU-Net at
            epoch 300 of 1000 would leave the rate at 72 % of its top.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: Literal["plateau"]
    monitor: Literal["validation_loss", "patch_dice", "joint_score"] = "validation_loss"
    smoothing: float = Field(default=0.9, ge=0, lt=1)
    patience: PositiveInt = 30
    min_delta: NonNegativeFloat = 0.0
    anneal_epochs: NonNegativeInt = 10

    @property
    def mode(self) -> Literal["min", "max"]:
        """Which way the monitored value gets better."""
        return "min" if self.monitor == "validation_loss" else "max"


EarlyStoppingConfig = Annotated[NoEarlyStopping | PlateauStopping, Field(discriminator="kind")]


@dataclass(slots=True, kw_only=True)
class PlateauWatch:
    """What early stopping remembers between epochs.

    Attributes:
        smoothed: moving average of the monitored value; None before the first.
        best: best average so far.
        best_epoch: epochs finished when it was reached.
        stopped_epoch: epochs finished when the plateau was found; None before.
    """

    config: PlateauStopping
    smoothed: float | None = None
    best: float | None = None
    best_epoch: int = 0
    stopped_epoch: int | None = None

    def observe(self, record: Mapping[str, Any], *, finished_epochs: int) -> bool:
        """Takes in an epoch's record; whether this epoch is the one that finds the plateau.

        An epoch without the figure (between two full validations, or undefined) changes nothing
        but still counts for the patience, once there has been a first one.
        """
        if self.stopped_epoch is not None:
            return False
        value = self._value(record)
        if value is not None:
            self._take(value, finished_epochs)
        if self.best is None or finished_epochs - self.best_epoch < self.config.patience:
            return False
        self.stopped_epoch = finished_epochs
        log.info("early stopping: %s", self.reason)
        return True

    def _value(self, record: Mapping[str, Any]) -> float | None:
        section, name = _PLACES[self.config.monitor]
        value = record.get(section, {}).get(name)
        return value if value is not None and math.isfinite(value) else None

    def _take(self, value: float, finished_epochs: int) -> None:
        decay = self.config.smoothing
        previous = value if self.smoothed is None else self.smoothed
        self.smoothed = decay * previous + (1 - decay) * value
        sign = 1 if self.config.mode == "max" else -1
        if self.best is None or sign * (self.smoothed - self.best) > self.config.min_delta:
            self.best, self.best_epoch = self.smoothed, finished_epochs

    @property
    def reason(self) -> str:
        """Why and when the training was stopped; empty where it was not."""
        if self.stopped_epoch is None:
            return ""
        return (
            f"{self.config.monitor} (smoothed {self.smoothed:.5g}) has not improved by more than "
            f"{self.config.min_delta:g} on {self.best:.5g} of epoch {self.best_epoch} for "
            f"{self.config.patience} epochs; stopped after epoch {self.stopped_epoch}, then "
            f"{self.config.anneal_epochs} epochs with the rate falling to zero"
        )

    def to_json(self) -> dict[str, Any]:
        """What is known, for the history and the checkpoint, without the settings."""
        return {k: v for k, v in asdict(self).items() if k != "config"}

    def restore(self, content: Mapping[str, Any]) -> None:
        """Takes up what `to_json` gave."""
        for name, value in content.items():
            setattr(self, name, value)

    @classmethod
    def of(cls, config: EarlyStoppingConfig) -> Self | None:
        """The watch of a configuration; None where early stopping is off."""
        return cls(config=config) if isinstance(config, PlateauStopping) else None


def anneal_factor(step: int, *, first_step: int, last_step: int) -> float:
    """Factor on the rate while it is annealed: 1 at `first_step`, 0 only past `last_step` - 1.

    Args:
        step: 0-based step about to be taken, in [first_step, last_step).
        first_step: first step after the plateau was found.
        last_step: steps of the whole, shortened training.
    """
    assert first_step <= step < last_step, (step, first_step, last_step)
    return 1 - (step - first_step) / (last_step - first_step)
