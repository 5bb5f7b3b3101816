"""The same weights in every epoch."""

from collections.abc import Mapping
from dataclasses import dataclass

from segduet.balancing.protocol import Balancer


@dataclass(frozen=True, kw_only=True)
class FixedBalancer(Balancer):
    """Total = sum of weight times loss, exactly (F34).

    Attributes:
        term_weights: term name -> factor.
    """

    kind = "fixed"
    term_weights: Mapping[str, float]

    def weights(self, epoch: int) -> dict[str, float]:  # noqa: ARG002 - the same in every epoch
        """The configured factors."""
        return dict(self.term_weights)
