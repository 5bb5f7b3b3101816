"""Gradient surgery: conflicting gradients are combined, not conflicting losses."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from segduet.balancing.protocol import Balancer, Trunk, known_terms, weighted_sum
from segduet.balancing.term_gradients import TermGradients

if TYPE_CHECKING:
    from torchjd.aggregation import Aggregator

SurgeryMethod = Literal["pcgrad", "mgda", "imtl_g", "aligned_mtl", "config"]


class GradientBalancer(Balancer):
    """Combines the terms' gradients at the shared parameters by an aggregator (B08).

    Parameters that only one term reaches get its gradient unchanged. Only terms known in the batch
    take part: a zero gradient would stop MGDA, and means nothing to the others.

    The gradients are combined while still multiplied by the fp16 scaler's factor, which every
    aggregator offered commutes with: f(c J) = c f(J). Where fp16 has overflowed they are summed as
    they are, so that the scaler sees it and skips the step.

    Args:
        aggregator: from a matrix (terms, parameters) to the combined gradient.
        term_weights: term name -> factor of its loss before all this.
    """

    kind = "gradient"

    def __init__(self, aggregator: "Aggregator", term_weights: Mapping[str, float]) -> None:
        self._aggregator = aggregator
        self._term_weights = dict(term_weights)

    def backward(
        self,
        losses: Mapping[str, Tensor],
        trunk: Trunk,
        *,
        epoch: int,
        scale: Tensor,
    ) -> Tensor:
        """Puts the combined gradient in place; returns the weighted sum of the losses."""
        weights = self.weights(epoch)
        scaled = {name: weights[name] * loss * scale for name, loss in losses.items()}
        known = known_terms(losses)
        total = weighted_sum(losses, weights).detach()
        gradients = TermGradients.of(scaled, trunk)
        rows = torch.stack([gradients.rows[name] for name in known or losses])
        gradients.store(self._combined(rows))
        return total

    def weights(self, epoch: int) -> dict[str, float]:  # noqa: ARG002 - the same in every epoch
        """The configured factors."""
        return dict(self._term_weights)

    def _combined(self, rows: Tensor) -> Tensor:
        if len(rows) == 1 or rows.shape[1] == 0 or not bool(torch.isfinite(rows).all()):
            return rows.sum(0)
        return self._aggregator(rows)


def build_aggregator(method: SurgeryMethod) -> "Aggregator":
    """The aggregator of a name, from torchjd.

    Offered are those that need no solver beyond torch and keep no state torchjd gives no access to
    (GradVac's could not be saved in a checkpoint).

    Source: PCGrad, Yu et al. 2020, arXiv 2001.06782; MGDA, Sener and Koltun 2018,
    arXiv 1810.04650; IMTL-G, Liu et al. 2021, ICLR (OpenReview IMPnRXEWpvr); Aligned-MTL, Senushkin
    et al. 2023, arXiv 2305.19000; ConFIG, Liu et al. 2024, arXiv 2408.11104.
    """
    from torchjd.aggregation import IMTLG, MGDA, AlignedMTL, ConFIG, PCGrad

    aggregators: dict[str, type[Aggregator]] = {
        "pcgrad": PCGrad,
        "mgda": MGDA,
        "imtl_g": IMTLG,
        "aligned_mtl": AlignedMTL,
        "config": ConFIG,
    }
    return aggregators[method]()
