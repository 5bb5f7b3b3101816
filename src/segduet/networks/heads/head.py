"""A head: pooling by sums, then a readout. B batch, S sums."""

from typing import cast

from torch import Tensor, nn

from segduet.networks.config import HeadConfig
from segduet.networks.heads.inputs import FeatureWidths, HeadInputs
from segduet.networks.heads.protocol import Pooling
from segduet.networks.heads.readout import Readout
from segduet.networks.heads.registry import HEADS
from segduet.networks.outputs import HeadAnswer


class Head(nn.Module):
    """Answers one case-level question, for a window alone or for all windows of a case.

    `answer(sums(window))` is the answer of a window. Sums of the windows of a case, each with its
    voxels' shares as weights, added up and given to `answer` once, are the answer of the case: it
    does not depend on how the case was cut, as far as the features themselves do not.
    """

    def __init__(self, pooling: nn.Module, readout: Readout) -> None:
        """Joins a way of pooling with the readout of its vector."""
        super().__init__()
        self.pooling, self.readout = pooling, readout

    def forward(self, inputs: HeadInputs) -> Tensor:
        """Outputs (B, num_outputs) float32 for windows that stand alone."""
        return self.answer(self.sums(inputs))

    def sums(self, inputs: HeadInputs) -> Tensor:
        """What the head knows of a window, (B, S) float32; adds over disjoint sets of voxels."""
        return self._pools.sums(inputs)

    def pooled(self, sums: Tensor) -> Tensor:
        """The pooled vector (B, W) float32 of sums (B, S)."""
        return self._pools.pooled(sums)

    def answer(self, sums: Tensor) -> Tensor:
        """Outputs (B, num_outputs) float32 of sums (B, S) of windows or of whole cases."""
        outputs: Tensor = self.readout(self.pooled(sums))
        return outputs.float()

    def explained(self, sums: Tensor) -> HeadAnswer:
        """The answer with the vector it was read from."""
        features = self.readout.features(self.pooled(sums))
        return HeadAnswer(logits=self.readout.perceptron(features).float(), features=features)

    def attention(self, inputs: HeadInputs, case_sums: Tensor) -> Tensor | None:
        """Weights of a window's voxels, see `Pooling.attention`."""
        return self._pools.attention(inputs, case_sums)

    @property
    def _pools(self) -> Pooling:
        return cast(Pooling, self.pooling)


def build_head(config: HeadConfig, widths: FeatureWidths, num_outputs: int) -> Head:
    """A head of the chosen kind for a network that offers these features.

    Raises:
        RequestError: a stage the encoder does not have, or a decoder is needed and missing.
    """
    pooling = HEADS[config.kind](config, widths)
    width = cast(Pooling, pooling).width
    return Head(pooling, Readout(width, num_outputs, config))
