"""Maximum unpooling: every value back to the pixel its maximum came from. B batch, C channels."""

from torch import Tensor
from torch.nn.functional import max_pool2d


def unpool(features: Tensor, pooled_from: Tensor) -> Tensor:
    """Spreads features over twice the size; each goes where `pooled_from` has its maximum.

    The positions are found anew instead of being carried from the encoder; pooling is cheap, and
    so the skips alone lead back up. torch's own unpooling gives the same, but has no deterministic
    implementation on CUDA.

    Args:
        features: (B, C, Y // 2, X // 2).
        pooled_from: (B, C, Y, X), the map that was pooled on the way down; odd sizes are fine, the
            row and column that pooling left over stay zero.

    Returns:
        (B, C, Y, X): the features at the positions of the maxima, zero elsewhere.

    Source: Noh et al. 2015, arXiv 1505.04366 (unpooling with switch variables).
    """
    _, indices = max_pool2d(pooled_from, 2, return_indices=True)
    empty = features.new_zeros(pooled_from.shape).flatten(2)
    return empty.scatter(2, indices.flatten(2), features.flatten(2)).view(pooled_from.shape)
