"""QuickNAT: dense blocks, maximum pooling, unpooling (F21). B batch, C channels, K classes."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from segduet.networks.backbone_config import DenseConfig
from segduet.networks.dense_block import DenseBlock, dense_stage
from segduet.networks.unpooling import unpool


class QuickNATEncoder(nn.Module):
    """A dense stage and a pooling per level, then a dense block as bottleneck.

    Source: Roy et al. 2019, arXiv 1801.04161.

    Attributes:
        output_channels: features of every stage, highest resolution first; all equal.
    """

    def __init__(self, num_channels: int, config: DenseConfig) -> None:
        """Builds it for images of `num_channels` channels."""
        super().__init__()
        filters = config.num_filters
        self.output_channels = [filters] * (config.levels + 1)
        fans_in = [num_channels, *self.output_channels[: config.levels - 1]]
        self.stages = nn.ModuleList(dense_stage(fan_in, config) for fan_in in fans_in)
        self.bottleneck = DenseBlock(filters, config)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Features of every stage, highest resolution first, the bottleneck's last.

        Args:
            image: (B, C, Y, X) float, any size that leaves two pixels in the bottleneck.
        """
        features: list[Tensor] = []
        for stage in self.stages:
            features.append(stage(image))
            image = max_pool2d(features[-1], 2)
        return [*features, self.bottleneck(image)]


class QuickNATDecoder(nn.Module):
    """Unpooling, the skip, and a dense stage per level; a 1 x 1 convolution gives the logits.

    Attributes:
        deep_supervision: no effect; this decoder has one resolution, the original's.
    """

    def __init__(self, config: DenseConfig, num_outputs: int) -> None:
        """Builds the decoder for a `QuickNATEncoder` of the same configuration."""
        super().__init__()
        self.deep_supervision = False
        filters = config.num_filters
        self.stages = nn.ModuleList(dense_stage(2 * filters, config) for _ in range(config.levels))
        self.to_logits = nn.Conv2d(filters, num_outputs, 1)

    def decode(self, skips: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], Tensor]:
        """Logits (B, K, Y, X), one entry, and the features they come from.

        Args:
            skips: the encoder's features, highest resolution first.
        """
        features = skips[-1]
        for stage, skip in zip(self.stages, reversed(skips[:-1]), strict=True):
            features = stage(torch.cat((skip, unpool(features, skip)), 1))
        return (self.to_logits(features),), features
