"""When one task is held to be hurting the other."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, model_validator


class InterferenceConfig(BaseModel):
    """What is measured on the way, and when it is an alarm (B08).

    Neither changes the training; see `balancing.kind: guarded` for what does.

    Attributes:
        every_steps: steps between two measurements of the gradients, from the first step of every
            epoch on; 0 measures none. Each costs one backward pass per term through the encoder.
        cosine_below: a task whose mean cosine with segmentation lies below this is in conflict.
        collapse_share: a task is collapsed where more than this share of the training windows gets
            the same class although the labels differ more than that; 1 switches this off.
        epochs: how many epochs running either must hold to be an alarm.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    every_steps: NonNegativeInt = 50
    cosine_below: float = Field(default=-0.1, ge=-1, le=1)
    collapse_share: float = Field(default=0.95, gt=0, le=1)
    epochs: PositiveInt = 3

    @model_validator(mode="after")
    def _has_no_idle_option(self) -> Self:
        default = type(self).model_fields["cosine_below"].default
        if self.every_steps == 0 and self.cosine_below != default:
            raise ValueError("cosine_below has no effect with every_steps 0; remove one of them")
        return self
