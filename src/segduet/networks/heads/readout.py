"""From a pooled vector to the outputs of a task. B batch, W pooled numbers."""

import itertools

from torch import Tensor, nn

from segduet.networks.config import HeadConfig
from segduet.networks.heads.gates import ChannelGate
from segduet.networks.standardise import RunningStandardiser

_LAST_LAYER_STD = 0.01  # answers start near uniform, so young heads pull little at the encoder


class Readout(nn.Module):
    """Standardises the pooled vector, weighs its channels, and answers by a perceptron.

    The first seed's bottleneck head (F16) does not standardise.
    """

    def __init__(self, width: int, num_outputs: int, config: HeadConfig) -> None:
        """Builds the readout for vectors of `width` numbers."""
        super().__init__()
        is_standardised = config.kind != "bottleneck"
        self.normalise = nn.Sequential(
            RunningStandardiser(width) if is_standardised else nn.Identity(),
            ChannelGate(width) if config.channel_attention else nn.Identity(),
        )
        self.perceptron = perceptron(width, num_outputs, config)

    def features(self, pooled: Tensor) -> Tensor:
        """What the perceptron sees, (B, W) float32."""
        features: Tensor = self.normalise(pooled)
        return features

    def forward(self, pooled: Tensor) -> Tensor:
        """Outputs (B, num_outputs)."""
        outputs: Tensor = self.perceptron(self.features(pooled))
        return outputs


def perceptron(width: int, num_outputs: int, config: HeadConfig) -> nn.Sequential:
    """LayerNorm, then Linear-ReLU-Dropout for every hidden width, then a Linear to the outputs."""
    layers: list[nn.Module] = [nn.LayerNorm(width)] if config.layer_norm else []
    for fan_in, fan_out in itertools.pairwise((width, *config.hidden)):
        linear = nn.Linear(fan_in, fan_out)
        nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.ReLU(), nn.Dropout(config.dropout)]
    last = nn.Linear((width, *config.hidden)[-1], num_outputs)
    nn.init.normal_(last.weight, std=_LAST_LAYER_STD)
    nn.init.zeros_(last.bias)
    return nn.Sequential(*layers, last)
