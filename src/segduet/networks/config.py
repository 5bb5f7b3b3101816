"""What can be chosen about the heads that answer the case-level questions."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

_POOLING_OPTIONS = ("stages", "decoder_features", "second_moments", "mask_gradient", "prior_voxels")


class HeadConfig(BaseModel):
    """How the network's features become the logits of one task.

    Attributes:
        kind: `bottleneck` averages the deepest encoder features over the window (F16);
            `mask_pooled` pools several stages inside the predicted region (B05).
        hidden: widths of the hidden layers (the first seed's 128 and 64).
        dropout: share of hidden activations dropped while training.
        stages: encoder stages `mask_pooled` reads, 0 is the highest resolution; None means all but
            stage 0, whose features cost the most memory.
        decoder_features: whether `mask_pooled` also reads the decoder's last feature map.
        second_moments: whether `mask_pooled` also uses the standard deviation inside the region;
            instance normalisation hides much of a texture from the means.
        mask_gradient: whether the class loss may reshape the mask it is pooled over.
        prior_voxels: weight of the window as a whole, in voxels of the predicted region; keeps
            pooling defined, and equal to the plain mean, where nothing is predicted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: Literal["bottleneck", "mask_pooled"] = "mask_pooled"
    hidden: tuple[int, ...] = (128, 64)
    dropout: float = Field(default=0.3, ge=0, lt=1)
    stages: tuple[int, ...] | None = Field(default=None, min_length=1)
    decoder_features: bool = False
    second_moments: bool = True
    mask_gradient: bool = False
    prior_voxels: float = Field(default=1.0, gt=0)

    @model_validator(mode="after")
    def _has_no_idle_option(self) -> Self:
        if any(width < 1 for width in self.hidden):
            raise ValueError(f"hidden widths {self.hidden} must be positive")
        if self.stages is not None and len(set(self.stages)) != len(self.stages):
            raise ValueError(f"stages {self.stages} repeat")
        defaults = type(self).model_fields
        changed = [n for n in _POOLING_OPTIONS if getattr(self, n) != defaults[n].default]
        if self.kind == "bottleneck" and changed:
            raise ValueError(f"{changed} have no effect on the bottleneck head; remove them")
        return self
