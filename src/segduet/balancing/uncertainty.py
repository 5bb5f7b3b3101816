"""Weights learned from the uncertainty of every term."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from segduet.balancing.protocol import Balancer, Trunk, backpropagate


class UncertaintyBalancer(Balancer):
    """Minimises sum_i c_i exp(-s_i) L_i + s_i / 2 over the weights and s_i = log sigma_i^2 (F37).

    c is 1 for terms that are minus a log-likelihood of classes (cross entropy; Dice is treated
    alike) and 1/2 for regression, so that for a constant loss the best sigma_i^2 is 2 L_i or L_i.
    A term unknown in a batch leaves its s_i without a gradient. The s_i are held within
    `bound`, which keeps every weight between c exp(-bound) and c exp(bound) under any precision.

    Args:
        log_variances: term name -> its s_i, a scalar parameter.
        coefficients: term name -> c_i.
        bound: largest absolute value of s_i.

    Source: Kendall et al. 2018, arXiv 1705.07115, equations 7 and 10.
    """

    kind = "uncertainty"

    def __init__(
        self,
        log_variances: Mapping[str, nn.Parameter],
        coefficients: Mapping[str, float],
        *,
        bound: float,
    ) -> None:
        assert log_variances.keys() == coefficients.keys()
        self._log_variances = dict(log_variances)
        self._coefficients = dict(coefficients)
        self._bound = bound

    def backward(
        self,
        losses: Mapping[str, Tensor],
        trunk: Trunk,
        *,
        epoch: int,  # noqa: ARG002
        scale: Tensor,
    ) -> Tensor:
        """Backpropagates the equation above, to the s_i too."""
        return backpropagate(self.total(losses), trunk, scale=scale)

    def total(self, losses: Mapping[str, Tensor]) -> Tensor:
        """The equation above, over the known terms; a scalar."""
        assert losses.keys() == self._log_variances.keys()
        terms = []
        for name, loss in losses.items():
            log_variance = self._log_variances[name]
            with torch.no_grad():
                # The optimiser may have stepped over the edge; the gradient may lead back.
                log_variance.clamp_(-self._bound, self._bound)
            known = (loss.detach() != 0).to(loss.dtype)
            term = self._coefficients[name] * torch.exp(-log_variance) * loss + log_variance / 2
            terms.append(known * term)
        return torch.stack(terms).sum()

    def weights(self, epoch: int) -> dict[str, float]:  # noqa: ARG002 - they follow the training
        """c_i exp(-s_i) as it stands."""
        return {
            name: self._coefficients[name] * math.exp(-min(max(s, -self._bound), self._bound))
            for name, s in self.progress().items()
        }

    def parameters(self) -> Sequence[nn.Parameter]:
        """The s_i, in the order of the terms."""
        return tuple(self._log_variances.values())

    def progress(self) -> dict[str, Any]:
        """The s_i."""
        return {name: float(s.detach()) for name, s in self._log_variances.items()}

    def resume(self, progress: Mapping[str, Any]) -> None:
        """Sets the s_i."""
        with torch.no_grad():
            for name, log_variance in self._log_variances.items():
                log_variance.fill_(progress[name])
