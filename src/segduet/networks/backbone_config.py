"""Which network carries the heads, and its options (F13, F15, F20-F27)."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

SqueezeExcite = Literal["none", "channel", "spatial", "channel_spatial"]
Normalisation = Literal["batch", "instance"]
StitchStart = Literal["near_identity", "identity", "uniform"]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class PlannedConfig(_Section):
    """The network nnU-Net's plan names (F13), as planned, or wider or deeper (F20).

    A network that is not as planned no longer fits stock nnU-Net's own builder, nor its weights.

    Attributes:
        width_factor: multiplies the features of every stage; rounded to whole features.
        extra_depth: convolutions (or residual blocks) more in every encoder stage.
    """

    kind: Literal["planned"] = "planned"
    width_factor: float = Field(default=1.0, gt=0)
    extra_depth: int = Field(default=0, ge=0)


class StandaloneUNetConfig(_Section):
    """The standalone 3D U-Net of the second seed (F15).

    Attributes:
        base_filters: features of the first stage, doubled at every pooling; the seed's 32.
        levels: poolings, each halving all three axes.
    """

    num_spatial_dims: ClassVar[int] = 3

    kind: Literal["standalone_unet"] = "standalone_unet"
    base_filters: PositiveInt = 32
    levels: PositiveInt = 4


class DenseConfig(_Section):
    """What QuickNAT and the networks made of its parts have in common.

    Batch normalisation takes its statistics from all patches of a step. With one patch or two they
    are noisy, and what evaluation uses (the running ones) differs from what training saw: take
    `instance`, or a larger batch.

    Attributes:
        num_filters: features of every block.
        kernel_size: of the two convolutions that look around them; odd.
        levels: poolings, each halving both axes (rounding down).
        dropout: share of feature maps dropped after every block but the bottleneck.
        normalisation: statistics over the batch, or over every image alone (with a learnt scale).
        squeeze_excite: what rescales the features of every block but the bottleneck (F22).
    """

    num_spatial_dims: ClassVar[int] = 2

    num_filters: int = Field(default=64, ge=2)
    kernel_size: PositiveInt = 5
    levels: PositiveInt = 4
    dropout: float = Field(default=0.2, ge=0, lt=1)
    normalisation: Normalisation = "batch"
    squeeze_excite: SqueezeExcite = "none"

    @model_validator(mode="after")
    def _has_odd_kernel(self) -> Self:
        if self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size {self.kernel_size} must be odd, to keep the image size")
        return self


class QuickNATConfig(DenseConfig):
    """QuickNAT with the original's 64 filters and 5 x 5 kernels (F21).

    With heads it is the seed's QuickFCN, whose encoder masks and classes share (F24; most like the
    seed with the `bottleneck` head); without masks it is that network's classifier twin (F27).
    """

    kind: Literal["quicknat"] = "quicknat"


class SoftQuickFCNConfig(DenseConfig):
    """Two QuickNAT encoders, for masks and for cases, joined by cross-stitch units (F25).

    The defaults are the seed's: 32 filters, three poolings, instance normalisation.

    Attributes:
        stitch_init: `near_identity` keeps 0.9 of a column and takes 0.1 of the other (Misra et al.
            2016), `identity` leaves the columns apart, `uniform` draws the share a column keeps
            from 0.05 to 0.95, once per unit and column (the seed).
    """

    kind: Literal["soft_quickfcn"] = "soft_quickfcn"
    num_filters: int = Field(default=32, ge=2)
    levels: PositiveInt = 3
    dropout: float = Field(default=0.05, ge=0, lt=1)
    normalisation: Normalisation = "instance"
    stitch_init: StitchStart = "near_identity"


class ResNet18Config(_Section):
    """ResNet-18 for classification alone: no decoder, any number of channels, any size (F23).

    Its batch normalisation is noisy for steps of one patch or two; see `DenseConfig`.
    """

    num_spatial_dims: ClassVar[int] = 2

    kind: Literal["resnet18"] = "resnet18"


BackboneConfig = Annotated[
    PlannedConfig | StandaloneUNetConfig | QuickNATConfig | SoftQuickFCNConfig | ResNet18Config,
    Field(discriminator="kind"),
]
