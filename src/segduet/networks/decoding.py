"""The U-Net's way back up, keeping the last feature map for the heads. B batch, K channels."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


def decode(decoder: nn.Module, skips: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], Tensor]:
    """Runs a `UNetDecoder` and returns its logits and the features they come from.

    The decoder's own forward throws the features away; the steps are the same, and so are the
    logits to the last bit.

    Args:
        decoder: a decoder of dynamic_network_architectures; its `deep_supervision` is obeyed.
        skips: encoder features, highest resolution first.

    Returns:
        Logits (B, K, *spatial), highest resolution first, and the last feature map.

    Source: Ronneberger et al. 2015, arXiv 1505.04597 (steps); Lee et al. 2015, arXiv 1409.5185
    (deep supervision).
    """
    parts: Any = decoder
    features = skips[-1]
    logits: list[Tensor] = []
    last = len(parts.stages) - 1
    for level, skip in enumerate(reversed(skips[:-1])):
        raised = parts.transpconvs[level](features)
        features = parts.stages[level](torch.cat((raised, skip), 1))
        if parts.deep_supervision or level == last:
            logits.append(parts.seg_layers[level](features))
    return tuple(reversed(logits)), features
