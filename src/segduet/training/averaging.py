"""Exponential moving average of the weights, which becomes the model."""

import copy

import torch
from torch import nn


class WeightAverage:
    """Average of a network's weights: a <- d a + (1 - d) w, with d rising to `decay` at the start.

    The rise, d = min(decay, (1 + n) / (10 + n)) after n updates, keeps early weights from lasting.
    Running statistics (floating-point buffers) are averaged like the weights they belong to, since
    those of today's weights do not describe the features of the averaged ones; counters are copied.

    Args:
        network: the network being trained; the average starts as a copy of it.
        decay: in (0, 1).

    Source: Polyak and Juditsky 1992, doi 10.1137/0330046; the warm-up is TensorFlow's.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.num_updates = 0
        self._decay = decay

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Takes in the weights and running statistics after a step."""
        decay = min(self._decay, (1 + self.num_updates) / (10 + self.num_updates))
        current = network.state_dict()
        for name, mine in self.network.state_dict().items():
            if mine.is_floating_point():
                mine.lerp_(current[name], 1 - decay)
            else:
                mine.copy_(current[name])
        self.num_updates += 1
