"""Every setting of a training, typed, with its default and where the default comes from."""

from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from segduet.balancing.config import (
    BalancerConfig,
    FixedConfig,
    GradientConfig,
    GuardedConfig,
    PlateauConfig,
    ValidationRateConfig,
)
from segduet.core.seeds import LARGEST_SEED
from segduet.losses.config import ClassificationLossConfig, SegmentationLossConfig
from segduet.networks.backbone_config import BackboneConfig, PlannedConfig
from segduet.networks.config import HeadConfig
from segduet.training.averaging_config import AveragingConfig, EmaConfig, SwaConfig
from segduet.training.distillation_config import DistillationConfig, NoDistillation
from segduet.training.early_stopping import (
    EarlyStoppingConfig,
    NoEarlyStopping,
    PlateauStopping,
)
from segduet.training.interference_config import InterferenceConfig
from segduet.training.thermal import ThermalConfig


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class RateFactors(_Section):
    """Learning rate of each part of the network, as a factor on `learning_rate` (F47).

    Attributes:
        encoder: parameters below a module called `encoder`.
        decoder: parameters below a module called `decoder`.
        heads: parameters of the classification heads.
        cross_stitch: mixing weights between two networks (parameters with `stitch` in their name);
            Misra et al. 2016 (CVPR) train them at up to 1000 times the base rate.
        balancing: learned loss weights.
    """

    encoder: PositiveFloat = 1.0
    decoder: PositiveFloat = 1.0
    heads: PositiveFloat = 1.0
    cross_stitch: PositiveFloat = 100.0
    balancing: PositiveFloat = 1.0


class OptimizerConfig(_Section):
    """Optimiser and its rates (F47).

    Attributes:
        name: `sgd` is SGD with Nesterov momentum as in nnU-Net; `adamw` is decoupled Adam.
        learning_rate: rate at the top of the schedule, before the factor of each part.
        rate_factors: a factor that is changed must find its part in the network.
        weight_decay: nnU-Net's 3e-5; never on cross-stitch units and learned loss weights.
        decay_norms: whether biases and normalisation weights decay too, as in nnU-Net.
        momentum: SGD only; nnU-Net's 0.99.
    """

    name: Literal["sgd", "adamw"] = "sgd"
    learning_rate: PositiveFloat = 1e-2
    rate_factors: RateFactors = RateFactors()
    weight_decay: float = Field(default=3e-5, ge=0)
    decay_norms: bool = True
    momentum: float = Field(default=0.99, ge=0, lt=1)

    @model_validator(mode="after")
    def _has_no_idle_option(self) -> Self:
        if self.name == "adamw" and self.momentum != type(self).model_fields["momentum"].default:
            raise ValueError("momentum has no effect on adamw; remove it")
        if self.weight_decay == 0 and not self.decay_norms:
            raise ValueError("decay_norms has no effect where weight_decay is 0; remove it")
        return self


class ScheduleConfig(_Section):
    """Learning rate over the training (F46): linear warm-up, then the decay of a kind.

    Attributes:
        kind: `poly` is nnU-Net's polynomial decay, `cosine` half a cosine (Loshchilov and Hutter
            2017, equation 5, without restarts), `constant` stays at the top.
        warmup_share: share of all steps over which the rate rises linearly to its top.
        power: exponent of `poly`; nnU-Net's 0.9.
    """

    kind: Literal["poly", "cosine", "constant"] = "poly"
    warmup_share: float = Field(default=0.0, ge=0, lt=1)
    power: PositiveFloat = 0.9

    @model_validator(mode="after")
    def _has_no_idle_option(self) -> Self:
        if self.kind != "poly" and self.power != type(self).model_fields["power"].default:
            raise ValueError(f"power has no effect on a {self.kind} schedule; remove it")
        return self


AugmentationPreset = Literal["none", "mild", "default", "da5", "cue_preserving"]


class SamplingConfig(_Section):
    """Which cases are drawn and where their patches lie (F09, F32).

    Attributes:
        cases: `shuffled` shows every case once per pass; `class_balanced` shows every class of a
            task equally often, and the cases of a class equally often among themselves. Cases
            whose class is unknown keep their share of all cases.
        balanced_task: the task whose classes are balanced; None takes the only one.
        foreground_share: share of patches centred on a foreground voxel; nnU-Net's 0.33.
        foreground_region: label or region these patches are centred on, such as the lesion, in
            the cases that have any of it; None takes any foreground.
        augmentation: a preset; `training/augmentation/presets.py` says what to use when.
    """

    cases: Literal["shuffled", "class_balanced"] = "shuffled"
    balanced_task: str | None = None
    foreground_share: float = Field(default=0.33, ge=0, le=1)
    foreground_region: str | None = None
    augmentation: AugmentationPreset = "default"

    def for_validation(self) -> Self:
        """The same patches without augmentation, and no case shown more often than another."""
        plain = {"augmentation": "none", "cases": "shuffled", "balanced_task": None}
        return self.model_copy(update=plain)

    @model_validator(mode="after")
    def _has_no_idle_option(self) -> Self:
        if self.balanced_task is not None and self.cases != "class_balanced":
            raise ValueError("balanced_task needs cases class_balanced; remove it")
        if self.foreground_region is not None and self.foreground_share == 0:
            raise ValueError("foreground_region has no effect with foreground_share 0; remove it")
        return self


#: A term of a weighted selection rule.
SelectionTerm = Annotated[str, Field(pattern=r"^(region|task):.+$")]


class ValidationConfig(_Section):
    """What is measured on the fold's validation cases during training (B09).

    Attributes:
        patches_per_epoch: validation patches whose losses are logged each epoch (never reported as
            results); 0 switches this off.
        full_cases_every: epochs between full-case validations of both tasks; 0 means none.
        final: predict and score the full validation cases with the finished model, mirrored.
        selection: which weights become the model. `last` selects nothing, so the validation
            figures stay honest; `best_joint` keeps the best mean of foreground DSC and macro-F1 on
            full validation cases, `best_weighted` the best weighted sum, and the record says by
            which formula and out of how many candidates (F51).
        selection_weights: terms of `best_weighted`: `region:NAME` (or `region:mean_foreground`)
            weighs a mean DSC, `task:NAME` a macro-F1 (of a regression R2, at least 0), such as
            the third seed's {region:whole: 0.4, region:lesion: 0.3, task:subtype: 0.3}.
    """

    patches_per_epoch: int = Field(default=8, ge=0)
    full_cases_every: int = Field(default=0, ge=0)
    final: bool = True
    selection: Literal["last", "best_joint", "best_weighted"] = "last"
    selection_weights: dict[SelectionTerm, PositiveFloat] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _has_candidates(self) -> Self:
        if self.selection != "last" and self.full_cases_every == 0:
            raise ValueError(f"selection {self.selection} needs full_cases_every > 0")
        if bool(self.selection_weights) != (self.selection == "best_weighted"):
            raise ValueError("selection best_weighted and selection_weights need each other")
        return self


class Recipe(_Section):
    """A whole training, apart from data, plan and fold.

    Attributes:
        epochs: an epoch is a fixed number of steps, not a pass over the data (nnU-Net).
        steps_per_epoch: optimiser steps per epoch; nnU-Net's 250.
        answers: `joint` learns masks and case-level answers; the other two learn one of them, the
            single-task baselines of F95. What a recipe says of the other is then without effect.
        network: what carries the heads: the network of the plan, or one of the seeds'.
        batch_size: patches per step; None takes the plan's.
        precision: `auto` takes bf16 where the processor computes in it, else fp32, and says so.
        compile: runs the steps' forward and backward passes as a compiled program (torch.compile).
        compute: `fixed` computes as `precision` and `compile` say, the same on every start;
            `measured` times a few steps at the start and takes what ends the training first.
        gradient_clip_norm: largest L2 norm of all gradients; nnU-Net's 12.
        averaging: which average of the weights becomes the model, if any (F53).
        early_stopping: ends the training on a plateau (F50).
        keep_every: epochs between models kept on the way, `model_epoch_0050.safetensors`; the last
            epoch's is the model itself. 0 keeps none.
        distillation: whether a trained model teaches this one besides the labels (F70).
        interference: what is measured between the tasks, and when it is an alarm (B08).
        details_every: epochs between images and histograms in TensorBoard; 0 writes none.
        thermal: pauses while the machine is too hot (F54).
    """

    name: str = "unnamed"
    epochs: PositiveInt = 200
    steps_per_epoch: PositiveInt = 250
    answers: Literal["joint", "segmentation", "classification"] = "joint"
    network: BackboneConfig = PlannedConfig()
    batch_size: PositiveInt | None = None
    seed: int = Field(default=0, ge=0, le=LARGEST_SEED)
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    compile: bool = False
    compute: Literal["fixed", "measured"] = "fixed"
    gradient_clip_norm: PositiveFloat = 12.0
    averaging: AveragingConfig = EmaConfig()
    early_stopping: EarlyStoppingConfig = NoEarlyStopping()
    keep_every: int = Field(default=0, ge=0)
    details_every: int = Field(default=10, ge=0)
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    sampling: SamplingConfig = SamplingConfig()
    head: HeadConfig = HeadConfig()
    segmentation_loss: SegmentationLossConfig = SegmentationLossConfig()
    classification_loss: ClassificationLossConfig = ClassificationLossConfig()
    balancing: BalancerConfig = FixedConfig()
    distillation: DistillationConfig = NoDistillation()
    interference: InterferenceConfig = InterferenceConfig()
    validation: ValidationConfig = ValidationConfig()
    thermal: ThermalConfig = ThermalConfig()

    @model_validator(mode="after")
    def _can_stop_early(self) -> Self:
        rule = self.early_stopping
        if not isinstance(rule, PlateauStopping):
            return self
        if rule.monitor == "joint_score" and self.validation.full_cases_every == 0:
            raise ValueError("early_stopping on joint_score needs validation.full_cases_every > 0")
        if rule.monitor != "joint_score" and self.validation.patches_per_epoch == 0:
            raise ValueError(
                f"early_stopping on {rule.monitor} needs validation.patches_per_epoch > 0"
            )
        if rule.monitor == "validation_loss" and not isinstance(self.balancing, FixedConfig):
            raise ValueError(
                "early_stopping on validation_loss needs fixed balancing, since weights that "
                "change move the loss; monitor patch_dice or joint_score"
            )
        if isinstance(self.averaging, SwaConfig):
            raise ValueError(
                "swa averages the last share of a known number of epochs, which early_stopping "
                "changes; use averaging ema"
            )
        return self

    @model_validator(mode="after")
    def _validates_what_balancing_watches(self) -> Self:
        needs_patches = isinstance(self.balancing, PlateauConfig | ValidationRateConfig)
        if needs_patches and self.validation.patches_per_epoch == 0:
            kind = self.balancing.kind
            raise ValueError(f"balancing {kind} needs validation.patches_per_epoch > 0")
        return self

    @model_validator(mode="after")
    def _corrects_imbalance_once(self) -> Self:
        corrections = {
            "classification_loss.class_weights=inverse_frequency": (
                self.classification_loss.class_weights == "inverse_frequency"
            ),
            "classification_loss.logit_adjustment > 0": (
                self.classification_loss.logit_adjustment > 0
            ),
            "sampling.cases=class_balanced": self.sampling.cases == "class_balanced",
        }
        chosen = [name for name, is_on in corrections.items() if is_on]
        if len(chosen) > 1:
            raise ValueError(
                f"{' and '.join(chosen)} correct the same class imbalance and would count it "
                "twice; keep one of them (weights: equal, adjustment: 0, cases: shuffled)"
            )
        return self

    @model_validator(mode="after")
    def _balances_what_there_is(self) -> Self:
        if self.answers != "joint" and self.balancing.kind != "fixed":
            raise ValueError(f"balancing {self.balancing.kind} needs answers joint")
        if self.network.kind == "resnet18" and self.answers != "classification":
            raise ValueError("network resnet18 draws no masks: it needs answers classification")
        return self

    @model_validator(mode="after")
    def _compiles_what_can_be(self) -> Self:
        if self.compile and self.compute == "measured":
            raise ValueError("compile has no effect where compute is measured; remove it")
        if self.compile and not self.can_be_compiled:
            kind = self.balancing.kind
            raise ValueError(
                f"balancing {kind} must know which loss reaches which weight, which a compiled "
                "network does not tell; remove compile"
            )
        return self

    @property
    def can_be_compiled(self) -> bool:
        """Whether the balancing gets along with a compiled network's gradients."""
        return not isinstance(self.balancing, GradientConfig | GuardedConfig)

    @property
    def has_masks(self) -> bool:
        """Whether the network draws masks."""
        return self.answers != "classification"

    @property
    def fits_stock_nnunet(self) -> bool:
        """Whether stock nnU-Net can load the encoder and decoder under the plan."""
        return self.has_masks and self.network == PlannedConfig()

    @property
    def num_steps(self) -> int:
        """Optimiser steps of the whole training."""
        return self.epochs * self.steps_per_epoch
