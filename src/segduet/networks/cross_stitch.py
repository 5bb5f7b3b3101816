"""Cross-stitch units: two columns that learn how much to share (F25). B batch, C channels."""

from typing import assert_never

import torch
from torch import Tensor, nn

from segduet.networks.backbone_config import StitchStart

_NEAR = 0.9  # Misra et al. 2016
_UNIFORM = (0.05, 0.95)  # the seed


def is_cross_stitch(parameter_name: str) -> bool:
    """Whether a parameter of a network belongs to a cross-stitch unit.

    They want a rate 100 to 1000 times the others' (Misra et al. 2016).
    """
    return any(part.endswith(("stitch", "stitches")) for part in parameter_name.split("."))


class CrossStitch(nn.Module):
    """Mixes two feature maps channel by channel with a learnt 2 x 2 matrix.

    `weight[c, i, j]` is how much of map j goes into channel c of the new map i.

    Source: Misra et al. 2016, arXiv 1604.03539, equation 1.
    """

    def __init__(self, channels: int, start: StitchStart) -> None:
        """Builds it for maps of `channels` channels; `uniform` draws from torch's generator."""
        super().__init__()
        own = _own_shares(start)
        matrix = torch.diag_embed(own) + torch.diag_embed(1 - own).flip(1)
        self.weight = nn.Parameter(matrix.repeat(channels, 1, 1))

    def forward(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """The two maps (B, C, Y, X), mixed."""
        weight = self.weight.to(first.dtype)[..., None, None]
        return (
            weight[:, 0, 0] * first + weight[:, 0, 1] * second,
            weight[:, 1, 0] * first + weight[:, 1, 1] * second,
        )


def _own_shares(start: StitchStart) -> Tensor:
    match start:
        case "near_identity":
            return torch.full((2,), _NEAR)
        case "identity":
            return torch.ones(2)
        case "uniform":
            return torch.empty(2).uniform_(*_UNIFORM)
        case never:
            assert_never(never)
