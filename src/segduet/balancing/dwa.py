"""Weights from how fast every term's training loss falls."""

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from segduet.balancing.protocol import Balancer, Trunk, known_terms, normalised


class DwaBalancer(Balancer):
    """Weight ~ exp(r_i / T), r_i = mean loss of the last epoch over that of the one before (F38).

    The weights sum to the number of terms: a term that falls slowly gets more. Means are over the
    batches that know the term; an epoch that never does leaves its history alone. Until a term has
    two means its r_i is 1, so the first two epochs weigh all alike.

    Args:
        terms: names of the loss terms.
        temperature: T > 0; larger is more even.

    Source: Liu et al. 2019, arXiv 1803.10704, equation 7.
    """

    kind = "dwa"

    def __init__(self, terms: tuple[str, ...], *, temperature: float) -> None:
        self._temperature = temperature
        self._means: dict[str, list[float]] = {term: [] for term in terms}
        self._seen: dict[str, list[float]] = {term: [] for term in terms}

    def backward(
        self, losses: Mapping[str, Tensor], trunk: Trunk, *, epoch: int, scale: Tensor
    ) -> Tensor:
        """The weighted sum; notes the losses for the epoch's means."""
        for term in known_terms(losses):
            self._seen[term].append(float(losses[term].detach()))
        return super().backward(losses, trunk, epoch=epoch, scale=scale)

    def weights(self, epoch: int) -> dict[str, float]:  # noqa: ARG002 - they follow the training
        """The weights of the epoch being trained."""
        rates = {t: m[1] / m[0] if len(m) == 2 else 1.0 for t, m in self._means.items()}
        top = max(rates.values())  # taken off: a loss that leaps must not overflow the exponential
        return normalised({t: math.exp((r - top) / self._temperature) for t, r in rates.items()})

    def end_epoch(self, record: Mapping[str, Any]) -> None:  # noqa: ARG002 - has its own means
        """Closes the epoch's means."""
        for term, seen in self._seen.items():
            if seen:
                self._means[term] = [*self._means[term], math.fsum(seen) / len(seen)][-2:]
            seen.clear()

    def progress(self) -> dict[str, Any]:
        """The last two means of every term."""
        return {term: list(means) for term, means in self._means.items()}

    def resume(self, progress: Mapping[str, Any]) -> None:
        """Takes up the means."""
        self._means = {term: list(means) for term, means in progress.items()}
