"""Two phases: segmentation finds its feet first, then the tasks count."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from segduet.balancing.protocol import weighted_sum
from segduet.balancing.stateless import refuse_state


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoPhaseBalancer:
    """Other weights from one epoch on, the heads isolated before it if so wished (F35).

    Attributes:
        first: term name -> factor before the switch.
        second: the same from the switch on.
        switch_epoch: first epoch of the second phase, counted from 0.
        isolate_first_phase: whether the task losses train only the heads before the switch.
    """

    first: Mapping[str, float]
    second: Mapping[str, float]
    switch_epoch: int
    isolate_first_phase: bool

    def combine(self, losses: Mapping[str, Tensor], *, epoch: int) -> Tensor:
        """The terms summed with the weights of the epoch's phase."""
        return weighted_sum(losses, self.weights(epoch))

    def weights(self, epoch: int) -> dict[str, float]:
        """The factors of the epoch's phase."""
        return dict(self.first if epoch < self.switch_epoch else self.second)

    def isolates_heads(self, epoch: int) -> bool:
        """Whether the epoch lies in an isolated first phase."""
        return self.isolate_first_phase and epoch < self.switch_epoch

    def state_dict(self) -> dict[str, Any]:
        """Empty: the epoch says it all."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Accepts an empty state.

        Raises:
            DataError: the state is another balancer's.
        """
        refuse_state(state)
