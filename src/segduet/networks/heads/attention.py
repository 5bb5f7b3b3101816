"""Cross-attention pooling. B batch, Q queries, H attention heads, N voxels, C channels.

G ways of weighing the voxels beforehand: evenly, or by the predicted region and evenly.
"""

import torch
from torch import Tensor, nn

from segduet.networks.config import HeadConfig
from segduet.networks.heads.inputs import FeatureWidths, HeadInputs, Sources
from segduet.networks.heads.region import RegionWeighting
from segduet.networks.pooling import SumsLayout, mean_map, owned_weights, spread, weighted_sums

_BOUND = 8.0  # of a logit: one voxel may weigh exp(16), nine million, times another


class AttentionPooling(nn.Module):
    """Learned queries choose the voxels whose values are averaged (F18).

    A query is learned and not computed, so query and key projection are together one linear map
    from a voxel's features to its logit. Logits are bounded by 8 tanh(. / 8): their exponentials
    can then be summed without a running maximum, and sums of disjoint windows add. Every source
    has queries of its own. With `mask_guided` the logarithm of the predicted region's probability
    (and of a small even prior, for empty regions) is added to the logit.

    Source: Vaswani et al. 2017, arXiv 1706.03762, equation 1; Lee et al. 2019, arXiv 1810.00825,
    section 3.2 (pooling by learned queries).
    """

    def __init__(self, config: HeadConfig, widths: FeatureWidths) -> None:
        """Builds the pooling of the chosen sources.

        Raises:
            RequestError: a source the network does not have, or no region to be guided by.
        """
        super().__init__()
        if config.mask_guided:
            widths.require_decoder("mask_guided")
        self.sources = Sources.chosen(config, widths)
        self.second_moments = config.second_moments
        self._queries, self._heads = config.num_queries, config.num_attention_heads
        self._channels = config.width // self._heads
        num_logits = self._queries * self._heads
        self.logits = nn.ModuleList(nn.Conv1d(c, num_logits, 1) for c in self.sources.widths)
        self.values = nn.ModuleList(nn.Conv1d(c, config.width, 1) for c in self.sources.widths)
        self._region = RegionWeighting(config) if config.mask_guided else None
        self._layout = SumsLayout(self._shapes())

    @property
    def width(self) -> int:
        """Values of every query of every source, with their spread where it is used."""
        moments = 2 if self.second_moments else 1
        return moments * len(self.logits) * self._queries * self._heads * self._channels

    def sums(self, inputs: HeadInputs) -> Tensor:
        """Numerators (values and their squares) and denominators of every query."""
        weights = inputs.weights if self._region is None else self._region.both(inputs)
        parts = {"voxels": inputs.weights.flatten(1).sum(1, keepdim=True)}
        for i, features in enumerate(self.sources.of(inputs)):
            own = owned_weights(weights, features.shape[2:])
            attended = own.flatten(2)[:, None, :, None] * self._scores(i, features)[:, :, None]
            values = self.values[i](features.flatten(2)).float()
            parts[f"total {i}"] = self._by_weighting(attended.sum(-1, keepdim=True))
            parts[f"first {i}"] = self._numerators(attended, values)
            if self.second_moments:
                parts[f"second {i}"] = self._numerators(attended, values.square())
        return self._layout.pack(parts)

    def pooled(self, sums: Tensor) -> Tensor:
        """What every query found, of all sources one after the other."""
        parts = self._layout.unpack(sums)
        pooled: list[Tensor] = []
        for i in range(len(self.logits)):
            total = self._mixed(parts, f"total {i}")
            first = self._mixed(parts, f"first {i}")
            pooled.append(first / total)
            if self.second_moments:
                pooled.append(spread(first, self._mixed(parts, f"second {i}"), total))
        return torch.cat([moment.flatten(1) for moment in pooled], 1)

    def attention(self, inputs: HeadInputs, case_sums: Tensor) -> Tensor:
        """The attention of all queries."""
        parts = self._layout.unpack(case_sums)
        maps = []
        for i, features in enumerate(self.sources.of(inputs)):
            shares = self._scores(i, features) / self._mixed(parts, f"total {i}")
            maps.append(shares.mean((1, 2)).reshape(-1, 1, *features.shape[2:]))
        density = inputs.weights
        if self._region is not None:
            density = self._region.density(inputs, parts["voxels"])
        return density * mean_map(maps, density)

    def _scores(self, source: int, features: Tensor) -> Tensor:
        """exp(logit) of every voxel, (B, H, Q, N) float32."""
        logits: Tensor = self.logits[source](features.flatten(2)).float()
        bounded = _BOUND * torch.tanh(logits / _BOUND)
        return bounded.exp().reshape(features.shape[0], self._heads, self._queries, -1)

    def _numerators(self, attended: Tensor, values: Tensor) -> Tensor:
        """(B, G, H, Q, C) from attended weights (B, H, G, Q, N) and values (B, H * C, N)."""
        batch, heads, weightings, queries, _ = attended.shape
        per_head = values.reshape(batch * heads, self._channels, -1)
        summed = weighted_sums(per_head, attended.flatten(0, 1).flatten(1, 2))
        return self._by_weighting(summed.reshape(batch, heads, weightings, queries, -1))

    @staticmethod
    def _by_weighting(sums: Tensor) -> Tensor:
        return sums.transpose(1, 2)

    def _mixed(self, parts: dict[str, Tensor], name: str) -> Tensor:
        """(B, H, Q, .) once the case is known."""
        if self._region is None:
            return parts[name][:, 0]
        return self._region.mixed(parts[name], parts["voxels"])

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        lead = (1 if self._region is None else 2, self._heads, self._queries)
        shapes: dict[str, tuple[int, ...]] = {"voxels": (1,)}
        for i in range(len(self.logits)):
            shapes |= {f"total {i}": (*lead, 1), f"first {i}": (*lead, self._channels)}
            if self.second_moments:
                shapes[f"second {i}"] = (*lead, self._channels)
        return shapes
