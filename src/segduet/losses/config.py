"""What can be chosen about the losses."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class ClassificationLossConfig(BaseModel):
    """How the classes of a task are weighed against each other.

    Attributes:
        class_weights: `inverse_frequency` makes every class count alike over the training cases,
            `equal` makes every case count alike.
        added_cases: pretended cases added to every class before counting; softens the weights of
            rare classes, and lets a class have no case.
        label_smoothing: share of the target spread evenly over the classes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    class_weights: Literal["inverse_frequency", "equal"] = "inverse_frequency"
    added_cases: float = Field(default=0.0, ge=0)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
