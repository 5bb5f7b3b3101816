"""How much a network makes of its channels. C channels of a group of layers that share them."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

_TRANSPOSED = (nn.ConvTranspose2d, nn.ConvTranspose3d)


def channel_strength(group: Any, *, writes: Callable[[Any], bool]) -> Tensor:
    """Strength of every channel, (C,) >= 0: how strongly it is written times how strongly read.

    Written: the scale that normalisation gives it, summed over the layers that write it, since
    before normalisation the size of a filter means nothing; without normalisation the L2 norm of
    the filter. Read: the share of a reading layer's squared weights, summed over those layers. A
    channel that nobody writes or nobody reads has strength 0.

    Args:
        group: of torch-pruning's graph, with all channels of its root.
        writes: whether a handler of the group is one of a layer that writes channels.

    Source: Liu et al. 2017, arXiv 1708.06519 (scales of normalisation); Li et al. 2017, arXiv
        1608.08710 (norms of filters).
    """
    scales, filters, shares = [], [], []
    for dependency, indices in group:
        layer, index = dependency.target.module, torch.as_tensor(list(indices))
        if isinstance(getattr(layer, "num_features", None), int):
            if layer.weight is not None:
                scales.append(layer.weight.detach().abs()[index])
        elif isinstance(getattr(layer, "out_channels", None), int):
            squares = _squares(layer, written=writes(dependency.handler))[index]
            if writes(dependency.handler):
                filters.append(squares.sqrt())
            else:
                shares.append(squares / layer.weight.detach().square().sum().clamp_min(1e-30))
    written = torch.stack(scales or filters).sum(0)
    return written * torch.stack(shares).sum(0).sqrt() if shares else written


def _squares(layer: Any, *, written: bool) -> Tensor:
    """Sum of the squared weights of every channel that a convolution writes, or reads."""
    outputs = 1 if isinstance(layer, _TRANSPOSED) else 0
    axis = outputs if written else 1 - outputs
    weight: Tensor = layer.weight.detach()
    return weight.square().transpose(0, axis).flatten(1).sum(1)
