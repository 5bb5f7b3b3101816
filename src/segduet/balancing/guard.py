"""Segmentation first: the tasks may use the shared weights only where it does not mind."""

from collections.abc import Mapping

import torch
from torch import Tensor

from segduet.balancing.protocol import SEGMENTATION, Balancer, Trunk, weighted_sum
from segduet.balancing.term_gradients import TermGradients


class GuardedBalancer(Balancer):
    """Fixed weights, with segmentation's gradient protected at the shared parameters (B08).

    Every task's gradient loses the part that opposes segmentation's (one-sided projection), and
    the sum of the tasks' is shortened to at most `max_ratio` times the norm of segmentation's. So
    a step never raises the batch's segmentation loss to first order, and as segmentation settles,
    the tasks settle with it. The heads' own parameters are not affected. A batch without a mask
    leaves the shared parameters alone: there is nothing to say what segmentation minds.

    Args:
        term_weights: term name -> factor of its loss; segmentation's is above 0.
        max_ratio: >= 0; 0 isolates the heads.

    Source: the projection is Yu et al. 2020, arXiv 2001.06782, algorithm 1, applied to one side
    and without the random order.
    """

    kind = "guarded"

    def __init__(self, term_weights: Mapping[str, float], *, max_ratio: float) -> None:
        self._term_weights = dict(term_weights)
        self._max_ratio = max_ratio

    def backward(
        self,
        losses: Mapping[str, Tensor],
        trunk: Trunk,
        *,
        epoch: int,
        scale: Tensor,
    ) -> Tensor:
        """Puts the guarded gradient in place; returns the weighted sum of the losses."""
        weights = self.weights(epoch)
        total = weighted_sum(losses, weights).detach()
        scaled = {name: weights[name] * loss * scale for name, loss in losses.items()}
        gradients = TermGradients.of(scaled, trunk)
        tasks = [row for name, row in gradients.rows.items() if name != SEGMENTATION]
        gradients.store(guarded(gradients.rows[SEGMENTATION], tasks, max_ratio=self._max_ratio))
        return total

    def weights(self, epoch: int) -> dict[str, float]:  # noqa: ARG002 - the same in every epoch
        """The configured factors."""
        return dict(self._term_weights)


def guarded(protected: Tensor, others: list[Tensor], *, max_ratio: float) -> Tensor:
    """The protected gradient plus what the others add without opposing it.

    Args:
        protected: (N,) gradient; where it is 0 the others count for nothing.
        others: gradients (N,).
        max_ratio: largest norm of the others' sum, in norms of the protected.

    Returns:
        (N,) with a dot product with `protected` of at least its squared norm, up to rounding.
    """
    length = torch.linalg.vector_norm(protected)
    direction = protected / length.clamp_min(torch.finfo(protected.dtype).tiny)
    added = torch.zeros_like(protected)
    for other in others:
        added = added + (other - torch.dot(other, direction).clamp_max(0) * direction)
    limit = max_ratio * length
    norm = torch.linalg.vector_norm(added)
    shrink = torch.where(norm > limit, limit / norm, torch.ones_like(norm))
    return protected + shrink * added
