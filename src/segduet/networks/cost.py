"""What a network costs: its parameters, and the arithmetic of one window."""

from collections.abc import Sequence

import torch
from torch.utils.flop_counter import FlopCounterMode

from segduet.networks.joint import JointNetwork


def cost_of_a_window(
    network: JointNetwork, *, num_channels: int, patch_size: Sequence[int]
) -> dict[str, int]:
    """Parameters, and multiply-adds of convolutions and matrices for one window of this size.

    Args:
        network: on the CPU; it runs once.
        num_channels: image channels.
        patch_size: (z, y, x) or (y, x).
    """
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, num_channels, *patch_size))
    return {
        "parameters": sum(p.numel() for p in network.parameters()),
        "multiply_adds": counter.get_total_flops() // 2,
    }
