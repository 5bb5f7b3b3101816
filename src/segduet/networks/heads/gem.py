"""Generalised-mean pooling. B batch, C channels."""

import torch
from torch import Tensor, nn

from segduet.networks.config import HeadConfig
from segduet.networks.heads.gates import spatial_gates
from segduet.networks.heads.inputs import FeatureWidths, HeadInputs, Sources
from segduet.networks.pooling import SumsLayout, mean_map, owned_weights, per_case, weighted_sums

_SMALLEST, _LARGEST = 1e-6, 30.0  # of a feature: 30^20 times 10^7 voxels stays inside float32
_LARGEST_POWER = 20.0
_LEAST_MEAN = 1e-37  # keeps the gradient of the root finite where all powers underflow


class GeneralisedMeanPooling(nn.Module):
    """Per channel (mean of x^p)^(1/p), with a learned p in [1, 20] for every source.

    p = 1 is the mean and large p comes near the maximum. Features are limited to [1e-6, 30] first,
    so what is negative counts as 0.

    Source: Radenovic et al. 2019, arXiv 1711.02512, equation 3 (p starts at 3, section 3.2).
    """

    def __init__(self, config: HeadConfig, widths: FeatureWidths) -> None:
        """Builds the pooling of the chosen sources.

        Raises:
            RequestError: a source the network does not have.
        """
        super().__init__()
        self.sources = Sources.chosen(config, widths)
        self.power = nn.Parameter(torch.full((len(self.sources.widths),), config.power))
        self.gates = spatial_gates(self.sources.widths, wanted=config.spatial_attention)
        shapes: dict[str, tuple[int, ...]] = {}
        for i, channels in enumerate(self.sources.widths):
            shapes |= {f"total {i}": (1,), f"powers {i}": (channels,)}
        self._layout = SumsLayout(shapes)

    @property
    def width(self) -> int:
        """Channels of all sources."""
        return sum(self.sources.widths)

    def sums(self, inputs: HeadInputs) -> Tensor:
        """Sums of the weights and of the features' powers."""
        parts: dict[str, Tensor] = {}
        powers = self._powers()
        for i, features in enumerate(self.sources.of(inputs)):
            weights = self._weights(inputs, i, features)
            raised = features.float().clamp(_SMALLEST, _LARGEST).pow(powers[i])
            parts[f"total {i}"] = weights.flatten(2).sum(2)
            parts[f"powers {i}"] = weighted_sums(raised, weights)
        return self._layout.pack(parts)

    def pooled(self, sums: Tensor) -> Tensor:
        """The generalised means of all sources, one after the other."""
        parts, powers = self._layout.unpack(sums), self._powers()
        means = [
            (parts[f"powers {i}"] / parts[f"total {i}"]).clamp_min(_LEAST_MEAN).pow(1 / power)
            for i, power in enumerate(powers)
        ]
        return torch.cat(means, 1)

    def attention(self, inputs: HeadInputs, case_sums: Tensor) -> Tensor | None:
        """The spatial gates; None without them."""
        if not self.gates:
            return None
        parts = self._layout.unpack(case_sums)
        gates = [
            self.gates[i](features) / per_case(parts[f"total {i}"], features)
            for i, features in enumerate(self.sources.of(inputs))
        ]
        return inputs.weights * mean_map(gates, inputs.weights)

    def _powers(self) -> Tensor:
        return self.power.float().clamp(1.0, _LARGEST_POWER)

    def _weights(self, inputs: HeadInputs, source: int, features: Tensor) -> Tensor:
        weights = owned_weights(inputs.weights, features.shape[2:])
        return weights * self.gates[source](features) if self.gates else weights
