"""What can be chosen about the losses."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

#: Best of the values in Lin et al. 2017, arXiv 1708.02002, table 1b.
FOCAL_GAMMA = 2.0


class SegmentationLossConfig(BaseModel):
    """How masks are learnt: Dice plus a term per voxel (F28, F30).

    Attributes:
        kind: the term per voxel; `dice_ce` takes cross entropy, `dice_focal` focal loss.
        dice_weight: factor of the Dice term; nnU-Net's 1.
        ce_weight: factor of the term per voxel, cross entropy or focal; nnU-Net's 1.
        dice_background: whether the background has a Dice term too (nnU-Net: no); plain labels
            only, since regions have no background channel.
        focal_gamma: how much well-classified voxels are played down; 0 gives cross entropy.
        focal_alpha: weight of each channel of the network. Plain labels: background first, >= 0,
            a voxel is weighed by its class. Regions: in [0, 1], voxels inside weigh alpha and
            those outside 1 - alpha. None weighs all alike.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: Literal["dice_ce", "dice_focal"] = "dice_ce"
    dice_weight: float = Field(default=1.0, ge=0)
    ce_weight: float = Field(default=1.0, ge=0)
    dice_background: bool = False
    focal_gamma: float = Field(default=FOCAL_GAMMA, ge=0)
    focal_alpha: tuple[float, ...] | None = None

    @model_validator(mode="after")
    def _has_no_idle_option(self) -> Self:
        is_focal = self.kind == "dice_focal"
        if self.dice_weight == self.ce_weight == 0:
            raise ValueError("dice_weight and ce_weight are both 0, so nothing is learnt")
        if not is_focal and (self.focal_gamma != FOCAL_GAMMA or self.focal_alpha is not None):
            raise ValueError("focal_gamma and focal_alpha need kind dice_focal; remove them")
        if is_focal and self.ce_weight == 0:
            raise ValueError("kind dice_focal has no effect with ce_weight 0; remove one of them")
        if self.dice_background and self.dice_weight == 0:
            raise ValueError("dice_background has no effect with dice_weight 0; remove it")
        if any(weight < 0 for weight in self.focal_alpha or ()):
            raise ValueError(f"focal_alpha {self.focal_alpha} must not be negative")
        return self


NNUNET_LOSS = SegmentationLossConfig()


class ClassificationLossConfig(BaseModel):
    """How the classes of a task are learnt and weighed against each other.

    Attributes:
        kind: `cross_entropy`, or `focal`, which plays down cases that are answered well (F30).
        class_weights: `inverse_frequency` makes every class count alike over the training cases,
            `equal` makes every case count alike. With `focal` these weights are its alpha.
        logit_adjustment: tau; the loss sees logits + tau * log(share of the class among the
            training cases), so that the logits themselves learn to do without it. 1 is consistent
            with balanced accuracy, 0 switches it off.
        added_cases: pretended cases added to every class before counting; softens weights and
            shares of rare classes, and lets a class have no case.
        label_smoothing: share of the target spread evenly over the classes (F33).
        focal_gamma: see `SegmentationLossConfig`.

    Source: logit adjustment is Menon et al. 2021, arXiv 2007.07314, equation 10.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: Literal["cross_entropy", "focal"] = "cross_entropy"
    class_weights: Literal["inverse_frequency", "equal"] = "inverse_frequency"
    logit_adjustment: float = Field(default=0.0, ge=0)
    added_cases: float = Field(default=0.0, ge=0)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    focal_gamma: float = Field(default=FOCAL_GAMMA, ge=0)

    @model_validator(mode="after")
    def _has_no_idle_option(self) -> Self:
        if self.kind != "focal" and self.focal_gamma != FOCAL_GAMMA:
            raise ValueError("focal_gamma needs kind focal; remove it")
        return self
