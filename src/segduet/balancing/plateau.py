"""Two phases whose switch is the plateau of the segmentation."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from segduet.balancing.protocol import SEGMENTATION, Balancer
from segduet.balancing.validation_rate import no_validation

#: What may be watched, and whether larger is better.
MONITORS = {"patch_dice": True, SEGMENTATION: False}


@dataclass(kw_only=True)
class PlateauBalancer(Balancer):
    """Other weights once the smoothed segmentation figure has stopped improving (F39).

    After every epoch the figure enters an exponential average; when that has not beaten its best
    by more than `min_delta` for `patience` epochs running, the next epoch opens the second phase.
    It never goes back. An epoch without a figure (no validation patch with foreground) is passed
    over.

    Attributes:
        first: term name -> factor before the switch.
        second: the same from the switch on.
        monitor: figure of the validation record to watch.
        patience: epochs without improvement, >= 1.
        min_delta: smallest change that counts.
        smoothing: in [0, 1), share of the old value in the average.
        isolate_first_phase: whether the task losses train only the heads before the switch.
    """

    kind = "plateau"
    first: Mapping[str, float]
    second: Mapping[str, float]
    monitor: str
    patience: int
    min_delta: float
    smoothing: float
    isolate_first_phase: bool
    _smoothed: float | None = field(default=None, init=False)
    _best: float | None = field(default=None, init=False)
    _waited: int = field(default=0, init=False)
    _switch_epoch: int | None = field(default=None, init=False)

    def weights(self, epoch: int) -> dict[str, float]:
        """The factors of the epoch's phase."""
        return dict(self.second if self._is_second(epoch) else self.first)

    def isolates_heads(self, epoch: int) -> bool:
        """Whether the epoch lies in an isolated first phase."""
        return self.isolate_first_phase and not self._is_second(epoch)

    def end_epoch(self, record: Mapping[str, Any]) -> None:
        """Takes in the epoch's figure and switches when it is time.

        Raises:
            RequestError: nothing was validated.
        """
        if self._switch_epoch is not None:
            return
        if self.monitor not in record["validation"]:
            raise no_validation(self.kind)
        figure = record["validation"][self.monitor]
        if figure is None:
            return
        value = float(figure) if MONITORS[self.monitor] else -float(figure)
        old = value if self._smoothed is None else self._smoothed
        self._smoothed = self.smoothing * old + (1 - self.smoothing) * value
        if self._best is None or self._smoothed > self._best + self.min_delta:
            self._best, self._waited = self._smoothed, 0
        else:
            self._waited += 1
        if self._waited >= self.patience:
            self._switch_epoch = int(record["epoch"]) + 1

    def progress(self) -> dict[str, Any]:
        """The average, its best, the epochs waited, and the switch once it has come."""
        return {
            "smoothed": self._smoothed,
            "best": self._best,
            "waited": self._waited,
            "switch_epoch": self._switch_epoch,
        }

    def resume(self, progress: Mapping[str, Any]) -> None:
        """Takes up all four."""
        self._smoothed, self._best = progress["smoothed"], progress["best"]
        self._waited, self._switch_epoch = progress["waited"], progress["switch_epoch"]

    def _is_second(self, epoch: int) -> bool:
        return self._switch_epoch is not None and epoch >= self._switch_epoch
