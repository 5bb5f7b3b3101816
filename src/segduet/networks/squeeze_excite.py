"""Squeeze and excitation: features rescaled by what they say (F22). B batch, C channels."""

from typing import assert_never

import torch
from torch import Tensor, nn

from segduet.networks.backbone_config import SqueezeExcite

_REDUCTION = 2  # Roy et al. 2018


class ChannelExcitation(nn.Module):
    """Rescales every channel by a number in (0, 1) drawn from all channels' means (cSE).

    Source: Hu et al. 2018, arXiv 1709.01507; Roy et al. 2018, arXiv 1803.02579.
    """

    def __init__(self, channels: int) -> None:
        """Builds it for maps of `channels` channels, at least 2."""
        super().__init__()
        self.squeeze = nn.Linear(channels, channels // _REDUCTION)
        self.excite = nn.Linear(channels // _REDUCTION, channels)

    def forward(self, features: Tensor) -> Tensor:
        """The features (B, C, Y, X), rescaled."""
        hidden = torch.relu(self.squeeze(features.mean((2, 3))))
        return features * torch.sigmoid(self.excite(hidden))[:, :, None, None]


class SpatialExcitation(nn.Module):
    """Rescales every pixel by a number in (0, 1) drawn from its own channels (sSE).

    Source: Roy et al. 2018, arXiv 1803.02579.
    """

    def __init__(self, channels: int) -> None:
        """Builds it for maps of `channels` channels."""
        super().__init__()
        self.gate = nn.Conv2d(channels, 1, 1)

    def forward(self, features: Tensor) -> Tensor:
        """The features (B, C, Y, X), rescaled."""
        return features * torch.sigmoid(self.gate(features))


class ChannelSpatialExcitation(nn.Module):
    """The larger of both rescalings, element by element (scSE).

    Source: Roy et al. 2018, arXiv 1803.02579. That paper adds the two; the maximum is
    the authors' later choice (Roy et al. 2019, doi 10.1109/TMI.2018.2867261) and the seed's.
    """

    def __init__(self, channels: int) -> None:
        """Builds it for maps of `channels` channels, at least 2."""
        super().__init__()
        self.channel = ChannelExcitation(channels)
        self.spatial = SpatialExcitation(channels)

    def forward(self, features: Tensor) -> Tensor:
        """The features (B, C, Y, X), rescaled."""
        return torch.maximum(self.channel(features), self.spatial(features))


def build_squeeze_excite(kind: SqueezeExcite, channels: int) -> nn.Module:
    """The module of this kind; `none` is the identity, without parameters."""
    match kind:
        case "none":
            return nn.Identity()
        case "channel":
            return ChannelExcitation(channels)
        case "spatial":
            return SpatialExcitation(channels)
        case "channel_spatial":
            return ChannelSpatialExcitation(channels)
        case never:
            assert_never(never)
