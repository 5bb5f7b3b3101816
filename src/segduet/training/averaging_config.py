"""What can be chosen about averaging weights over a training."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class NoAveraging(BaseModel):
    """The weights of the last step become the model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["none"] = "none"


class EmaConfig(BaseModel):
    """An exponential moving average over all steps becomes the model.

    Attributes:
        decay: weight of the past in each step's update.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: Literal["ema"] = "ema"
    decay: float = Field(default=0.999, gt=0, lt=1)


class SwaConfig(BaseModel):
    """The plain mean of the weights at the end of each of the last epochs becomes the model.

    Attributes:
        last_share: share of all epochs that is averaged (Izmailov et al.'s 0.25).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: Literal["swa"] = "swa"
    last_share: float = Field(default=0.25, gt=0, le=1)

    def first_epoch(self, num_epochs: int) -> int:
        """First epoch, counted from 0, whose weights are averaged; always at least the last one."""
        return min(num_epochs - 1, round((1 - self.last_share) * num_epochs))


AveragingConfig = Annotated[NoAveraging | EmaConfig | SwaConfig, Field(discriminator="kind")]
