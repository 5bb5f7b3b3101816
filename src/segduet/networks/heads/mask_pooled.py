"""Pooling inside the region the network predicts. B batch, C channels."""

import torch
from torch import Tensor, nn

from segduet.networks.config import HeadConfig
from segduet.networks.heads.gates import spatial_gates
from segduet.networks.heads.inputs import FeatureWidths, HeadInputs, Sources
from segduet.networks.heads.region import RegionWeighting
from segduet.networks.pooling import (
    SumsLayout,
    mean_map,
    owned_weights,
    per_case,
    spread,
    weighted_sums,
)


class MaskPooling(nn.Module):
    """Several stages pooled inside the predicted region (B05).

    Every source gives its mean inside the region, its mean over the case and, with
    `second_moments`, its standard deviation inside the region. Where nothing is predicted the
    region is the whole case, so the first two agree.
    """

    def __init__(self, config: HeadConfig, widths: FeatureWidths) -> None:
        """Builds the pooling of the chosen sources.

        Raises:
            RequestError: a source the network does not have, or no predicted region.
        """
        super().__init__()
        widths.require_decoder(f"kind {config.kind}")
        self.sources = Sources.chosen(config, widths)
        self.second_moments = config.second_moments
        self.gates = spatial_gates(self.sources.widths, wanted=config.spatial_attention)
        self._region = RegionWeighting(config)
        shapes: dict[str, tuple[int, ...]] = {"voxels": (1,)}
        for i, channels in enumerate(self.sources.widths):
            shapes |= {f"total {i}": (2, 1), f"first {i}": (2, channels)}
            if self.second_moments:
                shapes[f"second {i}"] = (2, channels)
        self._layout = SumsLayout(shapes)

    @property
    def width(self) -> int:
        """Two or three moments of all sources' channels."""
        return (3 if self.second_moments else 2) * sum(self.sources.widths)

    def sums(self, inputs: HeadInputs) -> Tensor:
        """Sums of weights, features and squares, by region and evenly."""
        weights = self._region.both(inputs)
        parts = {"voxels": inputs.weights.flatten(1).sum(1, keepdim=True)}
        for i, features in enumerate(self.sources.of(inputs)):
            own = owned_weights(weights, features.shape[2:])
            if self.gates:
                own = own * self.gates[i](features)
            parts[f"total {i}"] = own.flatten(2).sum(2)
            parts[f"first {i}"] = weighted_sums(features, own)
            if self.second_moments:
                parts[f"second {i}"] = weighted_sums(features.float().square(), own)
        return self._layout.pack(parts)

    def pooled(self, sums: Tensor) -> Tensor:
        """Moments of all sources, one after the other."""
        parts = self._layout.unpack(sums)
        return torch.cat(
            [m for i in range(len(self.sources.widths)) for m in self._of(parts, i)], 1
        )

    def attention(self, inputs: HeadInputs, case_sums: Tensor) -> Tensor:
        """The predicted region, times the spatial gates where there are any."""
        parts = self._layout.unpack(case_sums)
        maps = []
        for i, features in enumerate(self.sources.of(inputs)):
            total = self._region.mixed(parts[f"total {i}"], parts["voxels"])
            gate = self.gates[i](features) if self.gates else torch.ones_like(features[:, :1])
            maps.append(gate.float() / per_case(total, features))
        density = self._region.density(inputs, parts["voxels"])
        return density * mean_map(maps, density)

    def _of(self, parts: dict[str, Tensor], source: int) -> list[Tensor]:
        totals, firsts = parts[f"total {source}"], parts[f"first {source}"]
        total = self._region.mixed(totals, parts["voxels"])
        first = self._region.mixed(firsts, parts["voxels"])
        moments = [first / total, firsts[:, 1] / totals[:, 1]]
        if self.second_moments:
            second = self._region.mixed(parts[f"second {source}"], parts["voxels"])
            moments.append(spread(first, second, total))
        return moments
