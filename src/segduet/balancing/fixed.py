"""The same weights in every epoch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from segduet.balancing.protocol import weighted_sum
from segduet.balancing.stateless import refuse_state


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedBalancer:
    """Total = sum of weight times loss, exactly (F34).

    Attributes:
        term_weights: term name -> factor.
    """

    term_weights: Mapping[str, float]

    def combine(self, losses: Mapping[str, Tensor], *, epoch: int) -> Tensor:
        """The weighted sum of the terms."""
        return weighted_sum(losses, self.weights(epoch))

    def weights(self, epoch: int) -> dict[str, float]:  # noqa: ARG002 - the same in every epoch
        """The configured factors."""
        return dict(self.term_weights)

    def isolates_heads(self, epoch: int) -> bool:  # noqa: ARG002 - never
        """False: the task losses always reach the encoder."""
        return False

    def state_dict(self) -> dict[str, Any]:
        """Empty."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Accepts an empty state.

        Raises:
            DataError: the state is another balancer's.
        """
        refuse_state(state)
