"""The way back up, keeping the last feature map for the heads. B batch, K channels."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

Decoded = tuple[tuple[Tensor, ...], Tensor]


@runtime_checkable
class Decoder(Protocol):
    """A decoder of our own.

    Attributes:
        deep_supervision: whether `decode` also returns the lower resolutions.
    """

    deep_supervision: bool

    def decode(self, skips: Sequence[Tensor]) -> Decoded:
        """Logits (B, K, *spatial), highest resolution first, and the features they come from.

        The first logits and the features have the window's resolution; the features have as many
        channels as the encoder's stage 0, since heads are sized by that.
        """


def decode(decoder: nn.Module, skips: Sequence[Tensor]) -> Decoded:
    """Runs a decoder of our own, or a `UNetDecoder` of dynamic_network_architectures.

    Args:
        decoder: its `deep_supervision` is obeyed.
        skips: encoder features, highest resolution first.

    Returns:
        Logits (B, K, *spatial), highest resolution first, and the last feature map.
    """
    return decoder.decode(skips) if isinstance(decoder, Decoder) else _decode_stock(decoder, skips)


def _decode_stock(decoder: nn.Module, skips: Sequence[Tensor]) -> Decoded:
    """The steps of `UNetDecoder.forward`, which throws the features away; same logits, bit by bit.

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
