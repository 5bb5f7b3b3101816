"""What every balancer can do, and the sum they share."""

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

SEGMENTATION = "segmentation"


def task_term(task: str) -> str:
    """Name of a case-level task's loss term."""
    return f"task:{task}"


class Balancer(Protocol):
    """Weighs the loss terms of a step against each other."""

    def combine(self, losses: Mapping[str, Tensor], *, epoch: int) -> Tensor:
        """The scalar to minimise; `losses` has exactly the terms the balancer was built for."""
        ...

    def weights(self, epoch: int) -> dict[str, float]:
        """Weight of every term in an epoch (counted from 0), for the log."""
        ...

    def isolates_heads(self, epoch: int) -> bool:
        """Whether the class losses must not reach the encoder in this epoch."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run must know; plain types and tensors."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes up what `state_dict` gave."""
        ...


def weighted_sum(losses: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """Sum of weight times loss; a weight of 0 still keeps its term in the graph.

    Dropping the term would leave parameters without a gradient, which distributed training
    refuses.
    """
    assert losses.keys() == weights.keys(), (sorted(losses), sorted(weights))
    return torch.stack([weights[name] * losses[name] for name in weights]).sum()
