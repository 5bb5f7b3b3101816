"""Every setting of a training, typed, with its default and where the default comes from."""

from typing import Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from segduet.balancing.config import BalancerConfig, FixedConfig
from segduet.losses.config import ClassificationLossConfig
from segduet.networks.config import HeadConfig


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class OptimizerConfig(_Section):
    """Optimiser and its rates (F47).

    Attributes:
        name: `sgd` is SGD with Nesterov momentum as in nnU-Net; `adamw` is decoupled Adam.
        learning_rate: rate of encoder and decoder at the top of the schedule.
        head_learning_rate: rate of the classification heads; None means the same.
        weight_decay: nnU-Net's 3e-5.
        momentum: SGD only; nnU-Net's 0.99.
    """

    name: Literal["sgd", "adamw"] = "sgd"
    learning_rate: PositiveFloat = 1e-2
    head_learning_rate: PositiveFloat | None = None
    weight_decay: float = Field(default=3e-5, ge=0)
    momentum: float = Field(default=0.99, ge=0, lt=1)


class ScheduleConfig(_Section):
    """Learning rate over the training (F46): linear warm-up, then polynomial decay.

    Attributes:
        warmup_share: share of all steps over which the rate rises linearly to its top.
        power: exponent of the decay; nnU-Net's 0.9.
    """

    warmup_share: float = Field(default=0.0, ge=0, lt=1)
    power: PositiveFloat = 0.9


class SamplingConfig(_Section):
    """How patches are drawn (F09).

    Attributes:
        foreground_share: share of patches centred on a foreground voxel; nnU-Net's 0.33.
        augmentation: `default` is nnU-Net's default set, `none` leaves patches as they are.
    """

    foreground_share: float = Field(default=0.33, ge=0, le=1)
    augmentation: Literal["none", "default"] = "default"


class ValidationConfig(_Section):
    """What is measured on the fold's validation cases during training (B09).

    Attributes:
        patches_per_epoch: validation patches whose losses are logged each epoch (never reported as
            results); 0 switches this off.
        full_cases_every: epochs between full-case validations of both tasks; 0 means none.
        final: predict and score the full validation cases with the finished model, mirrored.
        selection: which weights become the model. `last` selects nothing, so the validation
            figures stay honest; `best_joint` keeps the best mean of foreground DSC and macro-F1 on
            full validation cases, and the record says out of how many candidates.
    """

    patches_per_epoch: int = Field(default=8, ge=0)
    full_cases_every: int = Field(default=0, ge=0)
    final: bool = True
    selection: Literal["last", "best_joint"] = "last"

    @model_validator(mode="after")
    def _has_candidates(self) -> Self:
        if self.selection == "best_joint" and self.full_cases_every == 0:
            raise ValueError("selection best_joint needs full_cases_every > 0")
        return self


class Recipe(_Section):
    """A whole training, apart from data, plan and fold.

    Attributes:
        epochs: an epoch is a fixed number of steps, not a pass over the data (nnU-Net).
        steps_per_epoch: optimiser steps per epoch; nnU-Net's 250.
        batch_size: patches per step; None takes the plan's.
        precision: `auto` takes bf16 where the processor computes in it, else fp32, and says so.
        gradient_clip_norm: largest L2 norm of all gradients; nnU-Net's 12.
        ema_decay: decay of the averaged weights that become the model; 0 switches averaging off.
    """

    name: str = "unnamed"
    epochs: PositiveInt = 200
    steps_per_epoch: PositiveInt = 250
    batch_size: PositiveInt | None = None
    seed: int = 0
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    gradient_clip_norm: PositiveFloat = 12.0
    ema_decay: float = Field(default=0.999, ge=0, lt=1)
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    sampling: SamplingConfig = SamplingConfig()
    head: HeadConfig = HeadConfig()
    classification_loss: ClassificationLossConfig = ClassificationLossConfig()
    balancing: BalancerConfig = FixedConfig()
    validation: ValidationConfig = ValidationConfig()

    @property
    def num_steps(self) -> int:
        """Optimiser steps of the whole training."""
        return self.epochs * self.steps_per_epoch
