"""The standalone 3D U-Net of the second seed (F15). B batch, C channels, K classes."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool3d


def _double_convolution(fan_in: int, fan_out: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (fan_in, fan_out):
        layers += [
            nn.Conv3d(channels, fan_out, 3, padding=1),
            nn.InstanceNorm3d(fan_out),
            nn.LeakyReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


class StandaloneEncoder(nn.Module):
    """Two convolutions per stage, features doubled and all axes halved from stage to stage.

    Source: Çiçek et al. 2016, arXiv 1606.06650, with instance normalisation (without a learnt
    scale) and leaky rectifiers as in the seed.

    Attributes:
        output_channels: features of every stage, highest resolution first.
    """

    def __init__(self, num_channels: int, *, base_filters: int, levels: int) -> None:
        """Builds `levels + 1` stages for images of `num_channels` channels."""
        super().__init__()
        self.output_channels = [base_filters * 2**level for level in range(levels + 1)]
        fans_in = [num_channels, *self.output_channels[:-1]]
        self.stages = nn.ModuleList(map(_double_convolution, fans_in, self.output_channels))

    def forward(self, image: Tensor) -> list[Tensor]:
        """Features of every stage, highest resolution first.

        Args:
            image: (B, C, Z, Y, X) float, every axis a multiple of 2 ** levels; a deepest map of a
                single voxel has no statistics and is refused by the normalisation.
        """
        features = [self.stages[0](image)]
        for stage in self.stages[1:]:
            features.append(stage(max_pool3d(features[-1], 2)))
        return features


class StandaloneDecoder(nn.Module):
    """The way back up: transposed convolutions, skips, two convolutions per stage.

    Attributes:
        deep_supervision: no effect; this decoder has one resolution, the seed's.
    """

    def __init__(self, widths: Sequence[int], num_outputs: int) -> None:
        """Builds the decoder for an encoder with `widths` features per stage."""
        super().__init__()
        self.deep_supervision = False
        upwards = list(reversed(widths))
        self.raises = nn.ModuleList(
            nn.ConvTranspose3d(deep, wide, 2, stride=2)
            for deep, wide in itertools.pairwise(upwards)
        )
        self.stages = nn.ModuleList(_double_convolution(2 * wide, wide) for wide in upwards[1:])
        self.to_logits = nn.Conv3d(widths[0], num_outputs, 1)

    def decode(self, skips: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], Tensor]:
        """Logits (B, K, Z, Y, X), one entry, and the features they come from.

        Args:
            skips: the encoder's features, highest resolution first.
        """
        features = skips[-1]
        steps = zip(self.raises, self.stages, reversed(skips[:-1]), strict=True)
        for lift, stage, skip in steps:
            features = stage(torch.cat((lift(features), skip), 1))
        return (self.to_logits(features),), features
