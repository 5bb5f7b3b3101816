"""What can be chosen about balancing segmentation against classification."""

from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

DEFAULT_SWITCH_EPOCH = 20  # first seed


class _Choice(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class FixedConfig(_Choice):
    """The same weights in every epoch.

    Plain weights are hard to beat: Kurin et al. 2022, arXiv 2201.04122.

    Attributes:
        segmentation_weight: factor of the segmentation loss.
        task_weight: factor of every task's loss (the first seed's, once its head has settled).
        task_weights: other factors for single tasks, by task name.
    """

    kind: Literal["fixed"] = "fixed"
    segmentation_weight: NonNegativeFloat = 1.0
    task_weight: NonNegativeFloat = 0.1
    task_weights: dict[str, NonNegativeFloat] = Field(default_factory=dict)


class TwoPhaseConfig(_Choice):
    """A light touch first, the full weight of the tasks later (the first seed's schedule, F35).

    Attributes:
        segmentation_weight: factor of the segmentation loss in both phases.
        first_task_weight: factor of every task's loss before the switch.
        second_task_weight: the same from the switch on.
        switch_epoch: first epoch of the second phase; 20 where `switch_fraction` is not given.
        switch_fraction: the same as a share of all epochs, instead of `switch_epoch`.
        isolate_first_phase: whether the task losses train only the heads before the switch.
    """

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


class FadeConfig(_Choice):
    """Segmentation weighs lambda(t) = 1 - a (1 - t/T)^p, the tasks 1 - lambda(t) (F36).

    The defaults are the fourth seed's.

    Attributes:
        segmentation_weight: further factor of the segmentation loss.
        task_weight: further factor of every task's loss.
        start_share: a, share of the tasks in epoch 0.
        length: T in epochs; None takes the whole training.
        exponent: p.
    """

    kind: Literal["fade"] = "fade"
    segmentation_weight: NonNegativeFloat = 1.0
    task_weight: NonNegativeFloat = 0.1
    start_share: float = Field(default=0.5, ge=0, le=1)
    length: PositiveInt | None = None
    exponent: PositiveFloat = 4.0


class UncertaintyConfig(_Choice):
    """Weights exp(-s) learned with the network, s the log-variance of a term (F37).

    Attributes:
        bound: largest absolute value of s; 5 keeps weights between 1/148 and 148.
    """

    kind: Literal["uncertainty"] = "uncertainty"
    bound: PositiveFloat = 5.0


class DwaConfig(_Choice):
    """Dynamic weight average: terms whose training loss falls slowly get more (F38).

    Attributes:
        temperature: larger is more even; the paper's 2.
    """

    kind: Literal["dwa"] = "dwa"
    temperature: PositiveFloat = 2.0


class GradNormConfig(_Choice):
    """Weights that make the terms' gradients equally long at the encoder's last stage (F38).

    Attributes:
        alpha: how much harder a term that lags behind may pull; the paper's 1.5.
        learning_rate: of the weights; the paper's 0.025.
    """

    kind: Literal["gradnorm"] = "gradnorm"
    alpha: NonNegativeFloat = 1.5
    learning_rate: PositiveFloat = 0.025


class ValidationRateConfig(_Choice):
    """Terms whose validation loss has come less far get more (F38); needs validation patches.

    Attributes:
        alpha: how strongly to follow.
        smoothing: share of the old value in the exponential average over epochs.
    """

    kind: Literal["validation_rate"] = "validation_rate"
    alpha: PositiveFloat = 1.0
    smoothing: float = Field(default=0.9, ge=0, lt=1)


class PlateauConfig(_Choice):
    """Two phases; the second begins when segmentation stops improving (F39).

    Attributes:
        segmentation_weight: factor of the segmentation loss in both phases.
        first_task_weight: factor of every task's loss before the switch.
        second_task_weight: the same from the switch on.
        monitor: figure on the validation patches; `segmentation` is the loss.
        patience: epochs without improvement before the switch.
        min_delta: smallest change that counts as one.
        smoothing: share of the old value in the exponential average over epochs.
        isolate_first_phase: whether the task losses train only the heads before the switch.
    """

    kind: Literal["plateau"] = "plateau"
    segmentation_weight: NonNegativeFloat = 1.0
    first_task_weight: NonNegativeFloat = 0.01
    second_task_weight: NonNegativeFloat = 0.1
    monitor: Literal["patch_dice", "segmentation"] = "patch_dice"
    patience: PositiveInt = 5
    min_delta: NonNegativeFloat = 0.001
    smoothing: float = Field(default=0.9, ge=0, lt=1)
    isolate_first_phase: bool = False


class GradientConfig(_Choice):
    """The terms' gradients at shared parameters combined by a method of torchjd's (B08).

    Costs one backward pass per term.

    Attributes:
        method: how.
        segmentation_weight: factor of the segmentation loss before all this.
        task_weight: factor of every task's loss before all this.
    """

    kind: Literal["gradient"] = "gradient"
    method: Literal["pcgrad", "mgda", "imtl_g", "aligned_mtl", "config"] = "pcgrad"
    segmentation_weight: PositiveFloat = 1.0
    task_weight: PositiveFloat = 1.0


class GuardedConfig(_Choice):
    """Fixed weights; the tasks may not oppose segmentation at shared parameters (B08).

    Attributes:
        segmentation_weight: factor of the segmentation loss.
        task_weight: factor of every task's loss.
        max_ratio: largest norm of the tasks' gradient, in norms of segmentation's.
    """

    kind: Literal["guarded"] = "guarded"
    segmentation_weight: PositiveFloat = 1.0
    task_weight: NonNegativeFloat = 0.1
    max_ratio: NonNegativeFloat = 0.5


BalancerConfig = Annotated[
    FixedConfig
    | TwoPhaseConfig
    | FadeConfig
    | UncertaintyConfig
    | DwaConfig
    | GradNormConfig
    | ValidationRateConfig
    | PlateauConfig
    | GradientConfig
    | GuardedConfig,
    Field(discriminator="kind"),
]
