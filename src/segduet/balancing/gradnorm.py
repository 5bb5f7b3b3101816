"""Weights that make every term pull equally hard at a shared layer."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from segduet.balancing.protocol import Balancer, Trunk, known_terms, normalised

_SMALLEST = 1e-3  # a weight that reached 0 could not come back through the renormalisation


class GradNormBalancer(Balancer):
    """Learns weights so that G_i = |w_i grad L_i| at the anchor approaches mean(G) r_i^alpha (F38).

    r_i is the term's L_i / L_i(first step) over the mean of those ratios: with alpha 0 all norms
    become equal, with more a term that lags behind pulls harder. The weights have an Adam of their
    own, descend sum_i |G_i - target_i| with the targets held constant, and are scaled after every
    step to sum to the number of terms. Only terms known in the batch are compared and moved; with
    fewer than two, or an overflow of fp16, the weights rest.

    Args:
        terms: names of the loss terms.
        alpha: >= 0, strength of the restoring force.
        learning_rate: of the weights' Adam.

    Source: Chen et al. 2018, arXiv 1711.02257, equations 1 and 2 and algorithm 1. The gradient of
    G_i by w_i is |grad L_i|, so no second backward pass is needed.
    """

    kind = "gradnorm"

    def __init__(self, terms: tuple[str, ...], *, alpha: float, learning_rate: float) -> None:
        self._alpha = alpha
        # float64 on the CPU: a handful of numbers, and exact as plain floats in a checkpoint.
        self._weights = {t: nn.Parameter(torch.ones((), dtype=torch.float64)) for t in terms}
        self._first: dict[str, float | None] = dict.fromkeys(terms)
        self._optimizer = torch.optim.Adam(self._weights.values(), lr=learning_rate)

    def backward(
        self, losses: Mapping[str, Tensor], trunk: Trunk, *, epoch: int, scale: Tensor
    ) -> Tensor:
        """The weighted sum with the weights so far, which are then moved for the next step."""
        known = known_terms(losses)
        norms = {t: _norm(losses[t] * scale, trunk) / float(scale) for t in known}
        total = super().backward(losses, trunk, epoch=epoch, scale=scale)
        values = {t: float(losses[t].detach()) for t in known}
        for term, value in values.items():
            if self._first[term] is None:
                self._first[term] = value
        if len(known) > 1 and all(math.isfinite(norm) for norm in norms.values()):
            self._move(norms, values)
        return total

    def weights(self, epoch: int) -> dict[str, float]:  # noqa: ARG002 - they follow the training
        """The weights as they stand."""
        return {term: float(weight.detach()) for term, weight in self._weights.items()}

    def progress(self) -> dict[str, Any]:
        """Weights, first losses and Adam's state of every term."""
        return {
            "weights": self.weights(0),
            "first": dict(self._first),
            "adam": {term: self._moments(weight) for term, weight in self._weights.items()},
        }

    def resume(self, progress: Mapping[str, Any]) -> None:
        """Takes up all three."""
        self._first = dict(progress["first"])
        for term, weight in self._weights.items():
            moments = progress["adam"][term]
            with torch.no_grad():
                weight.fill_(progress["weights"][term])
            if moments:
                self._optimizer.state[weight] = {
                    "step": torch.tensor(float(moments[0])),
                    "exp_avg": torch.tensor(moments[1], dtype=torch.float64),
                    "exp_avg_sq": torch.tensor(moments[2], dtype=torch.float64),
                }

    def _move(self, norms: Mapping[str, float], values: Mapping[str, float]) -> None:
        now = self.weights(0)
        pulls = {term: now[term] * norm for term, norm in norms.items()}
        ratios = {term: values[term] / (self._first[term] or 1.0) for term in norms}
        mean_pull = sum(pulls.values()) / len(pulls)
        mean_ratio = sum(ratios.values()) / len(ratios)
        self._optimizer.zero_grad(set_to_none=True)
        for term, norm in norms.items():
            target = mean_pull * (ratios[term] / mean_ratio) ** self._alpha
            slope = norm * float(torch.sign(torch.tensor(pulls[term] - target)))
            self._weights[term].grad = torch.tensor(slope, dtype=torch.float64)
        self._optimizer.step()
        moved = normalised({t: max(w, _SMALLEST) for t, w in self.weights(0).items()})
        with torch.no_grad():
            for term, weight in self._weights.items():
                weight.fill_(moved[term])

    def _moments(self, weight: nn.Parameter) -> list[float]:
        state = self._optimizer.state.get(weight)
        if not state:
            return []
        return [float(state[key]) for key in ("step", "exp_avg", "exp_avg_sq")]


def _norm(loss: Tensor, trunk: Trunk) -> float:
    if not trunk.anchor:  # the encoder is not trained
        return 0.0
    gradients = trunk.gradients_of(loss, trunk.anchor, retain_graph=True)
    found = [gradient.norm() for gradient in gradients if gradient is not None]
    return float(torch.stack(found).norm()) if found else 0.0
