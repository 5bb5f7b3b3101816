"""What a head may look at, and which of it a head has chosen. B batch, C channels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from torch import Tensor

from segduet.core.errors import RequestError
from segduet.networks.config import HeadConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadInputs:
    """What a head may look at.

    Attributes:
        stages: encoder features (B, C, *spatial) of every stage, highest resolution first.
        decoded: the decoder's last feature map (B, C, *spatial); None without a decoder.
        region: predicted probability of the task's evidence region, (B, 1, *spatial) float32 at
            the window's resolution; None without a decoder.
        weights: (B, 1, *spatial) float32 in [0, 1] at the window's resolution, each voxel's share
            of this window in the case: 1 everywhere for a window that stands alone.
    """

    stages: tuple[Tensor, ...]
    decoded: Tensor | None
    region: Tensor | None
    weights: Tensor

    def evidence(self) -> Tensor:
        """Voxels of the region in each window (probability above 0.5), (B,) float32.

        0 without a decoder; carries no gradient.
        """
        if self.region is None:
            return self.weights.new_zeros(self.weights.shape[0])
        return (self.region.detach() > 0.5).flatten(1).sum(1).float()

    def detached(self) -> "HeadInputs":
        """The same values without a way back for the gradient."""
        return HeadInputs(
            stages=tuple(stage.detach() for stage in self.stages),
            decoded=None if self.decoded is None else self.decoded.detach(),
            region=None if self.region is None else self.region.detach(),
            weights=self.weights,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureWidths:
    """What a network offers its heads.

    Attributes:
        stages: channels of every encoder stage, highest resolution first.
        decoder: channels of the decoder's last feature map; None without a decoder.
    """

    stages: tuple[int, ...]
    decoder: int | None

    def require_decoder(self, option: str) -> None:
        """Refuses a head that needs what only a decoder gives.

        Raises:
            RequestError: the network has no decoder.
        """
        if self.decoder is None:
            raise RequestError(
                f"head, {option}",
                found="a network that only classifies",
                expected="a network that also segments",
                remedy="Choose another head or leave the option out, or a network with a decoder.",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The feature maps a head reads.

    Attributes:
        stages: encoder stages.
        decoder_features: whether the decoder's last feature map comes after them.
        widths: channels of every map.
    """

    stages: tuple[int, ...]
    decoder_features: bool
    widths: tuple[int, ...]

    @classmethod
    def chosen(cls, config: HeadConfig, offered: FeatureWidths) -> Self:
        """The sources a configuration names.

        Raises:
            RequestError: a stage the encoder does not have, or decoder features without a decoder.
        """
        num_stages = len(offered.stages)
        stages = config.stages or tuple(range(min(1, num_stages - 1), num_stages))
        if not all(0 <= stage < num_stages for stage in stages):
            raise RequestError(
                "head, stages",
                found=f"{list(stages)}",
                expected=f"stages from 0 to {num_stages - 1}",
                remedy="Name stages of this plan's encoder, or leave the option out.",
            )
        widths = [offered.stages[stage] for stage in stages]
        if config.decoder_features:
            offered.require_decoder("decoder_features")
            assert offered.decoder is not None
            widths.append(offered.decoder)
        return cls(stages=stages, decoder_features=config.decoder_features, widths=tuple(widths))

    def of(self, inputs: HeadInputs) -> Sequence[Tensor]:
        """The chosen maps (B, C, *spatial)."""
        maps = [inputs.stages[stage] for stage in self.stages]
        if self.decoder_features:
            assert inputs.decoded is not None
            maps.append(inputs.decoded)
        return maps
