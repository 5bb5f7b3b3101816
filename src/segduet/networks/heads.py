"""Heads: from the features of one window to the logits of one task. B batch, C channels."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from segduet.core.errors import RequestError
from segduet.networks.config import HeadConfig
from segduet.networks.pooling import PooledSums, region_weights, resized_to
from segduet.networks.standardise import RunningStandardiser

_LAST_LAYER_STD = 0.01  # answers start near uniform, so young heads pull little at the encoder


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadInputs:
    """What a head may look at.

    Attributes:
        skips: encoder features (B, C, *spatial) of every stage, highest resolution first.
        decoded: the decoder's last feature map (B, C, *spatial), full resolution.
        region: predicted probability of the task's evidence region, (B, 1, *spatial) float32.
    """

    skips: tuple[Tensor, ...]
    decoded: Tensor
    region: Tensor

    def detached(self) -> "HeadInputs":
        """The same values without a way back for the gradient."""
        return HeadInputs(
            skips=tuple(skip.detach() for skip in self.skips),
            decoded=self.decoded.detach(),
            region=self.region.detach(),
        )


def perceptron(width: int, num_classes: int, config: HeadConfig) -> nn.Sequential:
    """LayerNorm, then Linear-ReLU-Dropout for every hidden width, then a Linear to the logits."""
    layers: list[nn.Module] = [nn.LayerNorm(width)]
    for fan_in, fan_out in itertools.pairwise((width, *config.hidden)):
        linear = nn.Linear(fan_in, fan_out)
        nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.ReLU(), nn.Dropout(config.dropout)]
    last = nn.Linear((width, *config.hidden)[-1], num_classes)
    nn.init.normal_(last.weight, std=_LAST_LAYER_STD)
    nn.init.zeros_(last.bias)
    return nn.Sequential(*layers, last)


class BottleneckHead(nn.Module):
    """Mean of the deepest encoder features over the window, then a perceptron (F16)."""

    def __init__(self, config: HeadConfig, *, widths: Sequence[int], num_classes: int) -> None:
        """Builds the head for an encoder with `widths` channels per stage."""
        super().__init__()
        self.perceptron = perceptron(widths[-1], num_classes, config)

    def forward(self, inputs: HeadInputs) -> Tensor:
        """Logits (B, num_classes)."""
        deepest = inputs.skips[-1]
        logits: Tensor = self.perceptron(deepest.float().mean(tuple(range(2, deepest.ndim))))
        return logits


class MaskPooledHead(nn.Module):
    """Several stages pooled inside the predicted region, standardised, then a perceptron (B05).

    Every feature map gives its mean inside the region, its mean over the window and, with
    `second_moments`, its standard deviation inside the region. Where nothing is predicted the
    region is the whole window, so the first two agree.

    Raises:
        RequestError: a stage the encoder does not have.
    """

    def __init__(self, config: HeadConfig, *, widths: Sequence[int], num_classes: int) -> None:
        """Builds the head for an encoder with `widths` channels per stage."""
        super().__init__()
        self.stages = config.stages or tuple(range(1, len(widths)))
        if not all(0 <= stage < len(widths) for stage in self.stages):
            raise RequestError(
                "head, stages",
                found=f"{list(self.stages)}",
                expected=f"stages from 0 to {len(widths) - 1}",
                remedy="Name stages of this plan's encoder, or leave the option out.",
            )
        self.decoder_features = config.decoder_features
        self.second_moments = config.second_moments
        self.mask_gradient = config.mask_gradient
        self.prior_voxels = config.prior_voxels
        sources = [widths[stage] for stage in self.stages]
        if self.decoder_features:
            sources.append(widths[0])  # the decoder ends with as many channels as stage 0 has
        moments = 3 if self.second_moments else 2
        self.standardise = RunningStandardiser(moments * sum(sources))
        self.perceptron = perceptron(moments * sum(sources), num_classes, config)

    def forward(self, inputs: HeadInputs) -> Tensor:
        """Logits (B, num_classes)."""
        logits: Tensor = self.perceptron(self.standardise(self.pooled(inputs)))
        return logits

    def pooled(self, inputs: HeadInputs) -> Tensor:
        """What the head knows of a window, (B, moments * channels of all sources) float32."""
        region = inputs.region if self.mask_gradient else inputs.region.detach()
        weights = region_weights(region, self.prior_voxels)
        sources = [inputs.skips[stage] for stage in self.stages]
        if self.decoder_features:
            sources.append(inputs.decoded)
        return torch.cat([part for source in sources for part in self._moments(source, weights)], 1)

    def _moments(self, features: Tensor, weights: Tensor) -> list[Tensor]:
        spatial = features.shape[2:]
        inside = PooledSums.of(features, resized_to(weights, spatial))
        moments = [inside.mean, features.float().mean(tuple(range(2, features.ndim)))]
        return [*moments, inside.spread] if self.second_moments else moments


HEADS: dict[str, type[BottleneckHead] | type[MaskPooledHead]] = {
    "bottleneck": BottleneckHead,
    "mask_pooled": MaskPooledHead,
}
