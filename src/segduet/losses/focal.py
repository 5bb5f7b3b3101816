"""Focal loss: cross entropy that plays down what is answered well (F30)."""

import torch
from torch import Tensor

# Smallest 1 - p: the power of 0 has no finite gradient for gamma < 1.
_SMALLEST_DOUBT = 1e-6


def focal_terms(cross_entropies: Tensor, gamma: float) -> Tensor:
    """(1 - p)^gamma times the cross entropy, where p = exp(-cross entropy) is the true answer's.

    Serves softmax and sigmoid alike, since p follows from the cross entropy; 1 - p keeps its
    digits where p is close to 1. With gamma 0 the terms are returned as they are.

    Args:
        cross_entropies: any shape, float32 >= 0, one term per answer.
        gamma: >= 0.

    Source: Lin et al. 2017, arXiv 1708.02002, equation 4.
    """
    if gamma == 0:
        return cross_entropies
    doubt = (-torch.expm1(-cross_entropies)).clamp_min(_SMALLEST_DOUBT)
    return doubt**gamma * cross_entropies
