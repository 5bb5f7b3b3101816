"""Learned gates on voxels and on pooled channels. B batch, C channels."""

import torch
from torch import Tensor, nn

_REDUCTION = 16  # Hu et al. 2018
_LEAST_HIDDEN = 4


class SpatialGate(nn.Module):
    """A weight in (0, 1) for every voxel, from the voxel's own features.

    Starts as 0.5 everywhere, that is as plain pooling.

    Source: Woo et al. 2018, arXiv 1807.06521, section 3. Differences: a 1 x 1 convolution of all
    channels instead of 7 x 7 of their mean and maximum, so that a window's border does not matter;
    and pooling divides by the sum of the gates.
    """

    def __init__(self, width: int) -> None:
        """Builds the gate for `width` channels."""
        super().__init__()
        self.logit = nn.Conv1d(width, 1, 1)
        nn.init.zeros_(self.logit.weight)
        assert self.logit.bias is not None
        nn.init.zeros_(self.logit.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Gates (B, 1, *spatial) float32 of features (B, C, *spatial)."""
        logits: Tensor = self.logit(features.flatten(2))
        return torch.sigmoid(logits.float()).reshape(features.shape[0], 1, *features.shape[2:])


class ChannelGate(nn.Module):
    """Squeeze-and-excitation: every channel times a gate in (0, 1) that depends on all of them.

    Source: Hu et al. 2018, arXiv 1709.01507, equations 2-4. Difference: it acts on the pooled
    vector of the case instead of on the maps of a window. For means this is the same (pooling is
    linear), and the squeeze does not depend on the tiling.
    """

    def __init__(self, width: int) -> None:
        """Builds the gate for `width` channels; it starts as 0.5 for all."""
        super().__init__()
        hidden = max(width // _REDUCTION, _LEAST_HIDDEN)
        last = nn.Linear(hidden, width)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.excitation = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), last, nn.Sigmoid())

    def forward(self, pooled: Tensor) -> Tensor:
        """Gated channels (B, C)."""
        gate: Tensor = self.excitation(pooled)
        return pooled * gate


def spatial_gates(widths: tuple[int, ...], *, wanted: bool) -> nn.ModuleList:
    """One gate per source, or none at all."""
    return nn.ModuleList(SpatialGate(width) for width in widths if wanted)
