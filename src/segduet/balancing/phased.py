"""Two phases: segmentation finds its feet first, then the tasks count."""

from collections.abc import Mapping
from dataclasses import dataclass

from segduet.balancing.protocol import Balancer


@dataclass(frozen=True, kw_only=True)
class TwoPhaseBalancer(Balancer):
    """Other weights from one epoch on, the heads isolated before it if so wished (F35).

    Attributes:
        first: term name -> factor before the switch.
        second: the same from the switch on.
        switch_epoch: first epoch of the second phase, counted from 0.
        isolate_first_phase: whether the task losses train only the heads before the switch.
    """

    kind = "two_phase"
    first: Mapping[str, float]
    second: Mapping[str, float]
    switch_epoch: int
    isolate_first_phase: bool

    def weights(self, epoch: int) -> dict[str, float]:
        """The factors of the epoch's phase."""
        return dict(self.first if epoch < self.switch_epoch else self.second)

    def isolates_heads(self, epoch: int) -> bool:
        """Whether the epoch lies in an isolated first phase."""
        return self.isolate_first_phase and epoch < self.switch_epoch
