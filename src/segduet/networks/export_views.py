"""A joint network as two modules of plain tensors, for converters. See `core/runtime.py`."""

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from segduet.networks.features import EncodedFeatures
from segduet.networks.joint import JointNetwork

_PROBE = 2**7 * 3**2 * 5  # voxels per axis; divisible by every total stride in use


class WindowView(nn.Module):
    """All of a network but the heads' last layers.

    Args:
        network: in evaluation mode, deep supervision off.
    """

    def __init__(self, network: JointNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor, shares: Tensor) -> tuple[Tensor, ...]:
        """Outputs in the order of `window_outputs`.

        Args:
            image: (B, C, *spatial) float32.
            shares: (B, 1, *spatial) float32 in [0, 1].
        """
        outputs = self.network(image, shares)
        per_task = (
            part
            for task in self.network.tasks
            for part in (outputs.case_sums[task], outputs.evidence[task])
        )
        return (*outputs.segmentation[:1], *per_task)


class HeadsView(nn.Module):
    """The last layers of a network's heads.

    Args:
        network: with at least one task, in evaluation mode.
    """

    def __init__(self, network: JointNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, *sums: Tensor) -> tuple[Tensor, ...]:
        """Outputs in the order of `heads_outputs`.

        Args:
            sums: one (N, S) float32 per task.
        """
        answers = self.network.answer(dict(zip(self.network.tasks, sums, strict=True)))
        return tuple(
            part
            for task in self.network.tasks
            for part in (answers[task].logits, answers[task].features)
        )


def total_strides(
    network: JointNetwork, num_channels: int, num_spatial_dims: int
) -> tuple[int, ...]:
    """By how much the encoder shrinks each axis: as it states, else found by shapes alone."""
    stated: Any = getattr(network.encoder, "strides", None)  # of nnU-Net's encoders, per stage
    if stated is not None:
        return tuple(math.prod(steps) for steps in zip(*stated, strict=True))
    # A copy: `torch.func.functional_call` leaves modules that are known by two names, as those of
    # nnU-Net's blocks are, without their weights.
    encoder = copy.deepcopy(network.encoder).to("meta")
    features = encoder(torch.empty(1, num_channels, *[_PROBE] * num_spatial_dims, device="meta"))
    stages = features.for_cases if isinstance(features, EncodedFeatures) else features
    return tuple(_PROBE // length for length in stages[-1].shape[2:])
