"""What can be chosen about balancing segmentation against classification."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, model_validator

DEFAULT_SWITCH_EPOCH = 20  # first seed


class FixedConfig(BaseModel):
    """The same weights in every epoch.

    Plain weights are hard to beat: Kurin et al. 2022, arXiv 2201.04122.

    Attributes:
        segmentation_weight: factor of the segmentation loss.
        task_weight: factor of every task's loss (the first seed's, once its head has settled).
        task_weights: other factors for single tasks, by task name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: Literal["fixed"] = "fixed"
    segmentation_weight: NonNegativeFloat = 1.0
    task_weight: NonNegativeFloat = 0.1
    task_weights: dict[str, NonNegativeFloat] = Field(default_factory=dict)


class TwoPhaseConfig(BaseModel):
    """A light touch first, the full weight of the tasks later (the first seed's schedule, F35).

    Attributes:
        segmentation_weight: factor of the segmentation loss in both phases.
        first_task_weight: factor of every task's loss before the switch.
        second_task_weight: the same from the switch on.
        switch_epoch: first epoch of the second phase; 20 where `switch_fraction` is not given.
        switch_fraction: the same as a share of all epochs, instead of `switch_epoch`.
        isolate_first_phase: whether the task losses train only the heads before the switch.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: Literal["two_phase"] = "two_phase"
    segmentation_weight: NonNegativeFloat = 1.0
    first_task_weight: NonNegativeFloat = 0.01
    second_task_weight: NonNegativeFloat = 0.1
    switch_epoch: int | None = Field(default=None, ge=0)
    switch_fraction: float | None = Field(default=None, ge=0, le=1)
    isolate_first_phase: bool = False

    @model_validator(mode="after")
    def _has_one_switch(self) -> Self:
        if self.switch_epoch is not None and self.switch_fraction is not None:
            raise ValueError("give switch_epoch or switch_fraction, not both")
        return self

    def first_epoch_of_second_phase(self, num_epochs: int) -> int:
        """The switch as an epoch, for a run of `num_epochs`; a fraction is rounded."""
        if self.switch_fraction is not None:
            return round(self.switch_fraction * num_epochs)
        return DEFAULT_SWITCH_EPOCH if self.switch_epoch is None else self.switch_epoch


BalancerConfig = Annotated[FixedConfig | TwoPhaseConfig, Field(discriminator="kind")]
