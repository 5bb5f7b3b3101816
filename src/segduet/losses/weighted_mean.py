"""The mean of the terms of what is known. B batch."""

import torch
from torch import Tensor


def weighted_mean(terms: Tensor, weights: Tensor, evidence: Tensor | None) -> Tensor:
    """Sum of weight times term over the sum of weights: scalar; 0 where nothing weighs anything.

    Divided by the weights, so that a balancer's factor means the same whatever the batch holds.

    Args:
        terms: (B, ...) float32, finite also where the weight is 0.
        weights: (B, ...) float32 >= 0, same shape; 0 gives a gradient of exactly 0.
        evidence: (B,) weight of each window beside it; None means 1.
    """
    if evidence is not None:
        weights = weights * evidence.float().reshape(-1, *[1] * (weights.ndim - 1))
    total = weights.sum()
    return (weights * terms).sum() / torch.where(total > 0, total, 1)
