"""The first seed's pooling: the mean of the deepest features. B batch, C channels."""

from torch import Tensor, nn

from segduet.networks.config import HeadConfig
from segduet.networks.heads.inputs import FeatureWidths, HeadInputs
from segduet.networks.pooling import SumsLayout, owned_weights, weighted_sums


class BottleneckPooling(nn.Module):
    """Mean of the deepest encoder features (F16)."""

    def __init__(self, config: HeadConfig, widths: FeatureWidths) -> None:
        """Builds the pooling; the configuration has no option for it."""
        super().__init__()
        assert config.kind == "bottleneck"
        self.width = widths.stages[-1]
        self._layout = SumsLayout({"total": (1,), "first": (self.width,)})

    def sums(self, inputs: HeadInputs) -> Tensor:
        """Sum of the weights and of the features, (B, 1 + C)."""
        deepest = inputs.stages[-1]
        weights = owned_weights(inputs.weights, deepest.shape[2:])
        return self._layout.pack(
            {"total": weights.flatten(2).sum(2), "first": weighted_sums(deepest, weights)}
        )

    def pooled(self, sums: Tensor) -> Tensor:
        """The mean (B, C)."""
        parts = self._layout.unpack(sums)
        return parts["first"] / parts["total"]

    def attention(self, inputs: HeadInputs, case_sums: Tensor) -> None:
        """None: all voxels weigh the same."""
