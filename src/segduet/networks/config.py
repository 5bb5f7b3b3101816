"""What can be chosen about the heads that answer the case-level questions."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

HeadKind = Literal["bottleneck", "gem", "mask_pooled", "attention"]

_SOURCES = ("stages", "decoder_features")
_REGION = ("mask_gradient", "prior_voxels")

#: Options that act on some kinds of head only; the others act on all.
_OPTIONS_OF: dict[HeadKind, tuple[str, ...]] = {
    "bottleneck": (),
    "gem": (*_SOURCES, "spatial_attention", "power"),
    "mask_pooled": (*_SOURCES, *_REGION, "spatial_attention", "second_moments"),
    "attention": (
        *(*_SOURCES, *_REGION, "second_moments"),
        *("num_queries", "num_attention_heads", "width", "mask_guided"),
    ),
}


class HeadConfig(BaseModel):
    """How the network's features become the outputs of one task.

    Attributes:
        kind: `bottleneck` averages the deepest encoder features (F16); `gem` takes their
            generalised mean with a learned power; `mask_pooled` pools several stages inside the
            predicted region (B05); `attention` lets learned queries choose the voxels (F18).
        hidden: widths of the hidden layers (the first seed's 128 and 64).
        dropout: share of hidden activations dropped while training.
        layer_norm: whether the pooled vector is normalised before the first layer.
        channel_attention: whether a squeeze-and-excitation gate weighs the pooled channels.
        stages: encoder stages to read, 0 is the highest resolution; None means all but stage 0,
            whose features cost the most memory.
        decoder_features: whether the decoder's last feature map is read too.
        spatial_attention: whether a learned gate weighs the voxels of every source.
        second_moments: whether the standard deviation is used beside the mean; instance
            normalisation hides much of a texture from the means.
        mask_gradient: whether the class loss may reshape the mask it is pooled over.
        prior_voxels: weight of the case as a whole, in voxels of the predicted region; keeps
            pooling defined, and equal to the plain mean, where nothing is predicted.
        power: where `gem` starts; 1 is the mean, large ones near the maximum. Radenovic's 3.
        num_queries: learned queries per source.
        num_attention_heads: parts of the values that are attended separately.
        width: channels of the values, a multiple of `num_attention_heads`.
        mask_guided: whether attention is biased by the log-probability of the predicted region.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: HeadKind = "mask_pooled"
    hidden: tuple[int, ...] = (128, 64)
    dropout: float = Field(default=0.3, ge=0, lt=1)
    layer_norm: bool = True
    channel_attention: bool = False
    stages: tuple[int, ...] | None = Field(default=None, min_length=1)
    decoder_features: bool = False
    spatial_attention: bool = False
    second_moments: bool = True
    mask_gradient: bool = False
    prior_voxels: float = Field(default=1.0, gt=0)
    power: float = Field(default=3.0, ge=1, le=20)
    num_queries: int = Field(default=4, ge=1)
    num_attention_heads: int = Field(default=4, ge=1)
    width: int = Field(default=64, ge=1)
    mask_guided: bool = False

    @model_validator(mode="after")
    def _is_sensible(self) -> Self:
        if any(width < 1 for width in self.hidden):
            raise ValueError(f"hidden widths {self.hidden} must be positive")
        if self.stages is not None and len(set(self.stages)) != len(self.stages):
            raise ValueError(f"stages {self.stages} repeat")
        if self.width % self.num_attention_heads:
            raise ValueError(
                f"width {self.width} is not a multiple of {self.num_attention_heads} heads"
            )
        return self

    @model_validator(mode="after")
    def _has_no_idle_option(self) -> Self:
        idle = {o for options in _OPTIONS_OF.values() for o in options} - {*_OPTIONS_OF[self.kind]}
        if self.kind == "attention" and not self.mask_guided:
            idle |= set(_REGION)
        if not self.hidden:
            idle.add("dropout")
        defaults = type(self).model_fields
        changed = sorted(n for n in idle if getattr(self, n) != defaults[n].default)
        if changed:
            raise ValueError(
                f"{changed} have no effect on this {self.kind} head; remove them "
                "(region options need mask_guided, dropout needs hidden layers)"
            )
        return self
