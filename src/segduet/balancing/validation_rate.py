"""Weights from how far every term's validation loss has come."""

from collections.abc import Mapping
from typing import Any

from segduet.balancing.protocol import Balancer, normalised
from segduet.core.errors import RequestError


class ValidationRateBalancer(Balancer):
    """Weight ~ r_i ^ alpha, r_i = smoothed validation loss over its first value (F38).

    The weights sum to the number of terms: a term that generalises slowly gets more, one that has
    come far less. Unlike DWA it goes by unseen cases, so a term that is only being memorised does
    not count as progress. A term no validation patch knows (loss 0) has r_i = 1.

    Args:
        terms: names of the loss terms.
        alpha: > 0, how strongly to follow.
        smoothing: in [0, 1), share of the old value in the exponential average.
    """

    kind = "validation_rate"

    def __init__(self, terms: tuple[str, ...], *, alpha: float, smoothing: float) -> None:
        self._alpha = alpha
        self._smoothing = smoothing
        self._first: dict[str, float | None] = dict.fromkeys(terms)
        self._smoothed: dict[str, float | None] = dict.fromkeys(terms)

    def weights(self, epoch: int) -> dict[str, float]:  # noqa: ARG002 - they follow the training
        """The weights of the epoch being trained; all 1 in the first."""
        return normalised({term: self._rate(term) ** self._alpha for term in self._first})

    def end_epoch(self, record: Mapping[str, Any]) -> None:
        """Takes in the validation losses of an epoch.

        Raises:
            RequestError: there are none.
        """
        measured = record["validation"]
        for term, first in self._first.items():
            if term not in measured:
                raise no_validation(self.kind)
            if not measured[term]:
                continue
            value = float(measured[term])
            old = self._smoothed[term]
            if first is None or old is None:
                self._first[term] = self._smoothed[term] = value
            else:
                self._smoothed[term] = self._smoothing * old + (1 - self._smoothing) * value

    def progress(self) -> dict[str, Any]:
        """First and smoothed loss of every term."""
        return {"first": dict(self._first), "smoothed": dict(self._smoothed)}

    def resume(self, progress: Mapping[str, Any]) -> None:
        """Takes up both."""
        self._first, self._smoothed = dict(progress["first"]), dict(progress["smoothed"])

    def _rate(self, term: str) -> float:
        first, smoothed = self._first[term], self._smoothed[term]
        return 1.0 if first is None or smoothed is None else smoothed / first


def no_validation(kind: str) -> RequestError:
    """The error of a balancer that goes by validation figures and is given none."""
    return RequestError(
        f"balancing, {kind}",
        found="no validation losses in the epoch's record",
        expected="validation cases in the fold and validation.patches_per_epoch above 0",
        remedy="Set them, or choose a balancing that goes without validation.",
    )
