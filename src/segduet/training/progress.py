"""Where a training stands, for a display."""

import time
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a training stands, for a display.

    Attributes:
        epoch: 0-based epoch being trained.
        step: steps finished in all epochs.
        num_steps: steps of the whole training, as far as is known (it may be stopped early).
        losses: mean raw losses of this epoch so far.
        steps_per_second: rate since the start or resume; pauses of the thermal guard left out.
        seconds_left: estimate for the rest.
    """

    epoch: int
    step: int
    num_steps: int
    losses: Mapping[str, float]
    steps_per_second: float
    seconds_left: float

    @property
    def line(self) -> str:
        """Stage, epoch, losses, rate and time left, for a person."""
        losses = " ".join(f"{name} {value:.3f}" for name, value in self.losses.items())
        return (
            f"train: epoch {self.epoch}, step {self.step}/{self.num_steps}, {losses}, "
            f"{self.steps_per_second:.2f} steps/s, {self.seconds_left / 60:.1f} min left"
        )

    @property
    def share(self) -> float:
        """Share of the training that is done, in [0, 1]."""
        return self.step / self.num_steps


class RateMeter:
    """Steps per second since the start, and the time left at that rate."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._done = 0

    def exclude(self, seconds: float) -> None:
        """Leaves a pause out of the rate."""
        self._started += seconds

    def progress(
        self, epoch: int, step: int, num_steps: int, losses: Mapping[str, float]
    ) -> Progress:
        """Counts one more step and returns the standing."""
        self._done += 1
        elapsed = max(time.perf_counter() - self._started, 1e-9)
        rate = self._done / elapsed
        return Progress(
            epoch=epoch,
            step=step,
            num_steps=num_steps,
            losses=dict(losses),
            steps_per_second=rate,
            seconds_left=(num_steps - step) / rate,
        )
