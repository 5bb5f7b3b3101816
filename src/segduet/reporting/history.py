"""The lines of `metrics.jsonl` as one series per figure, whatever keys a run has recorded."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

History = Sequence[Mapping[str, Any]]
_LOSS_WORDS = ("loss", "brier", "ece", "hd95", "distil")


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One figure over the epochs in which it was recorded.

    Attributes:
        name: path in the line, such as `validation/patch_dice`.
        epochs: epoch of each value, in the order of the file.
        values: finite numbers.
    """

    name: str
    epochs: tuple[int, ...]
    values: tuple[float, ...]

    @property
    def lower_is_better(self) -> bool:
        """Whether the figure is a loss or an error; judged by its name."""
        last = self.name.rsplit("/", 1)[-1]
        is_term = self.name.startswith("train/") or last.startswith("task:")
        return is_term or last == "segmentation" or any(word in last for word in _LOSS_WORDS)

    @property
    def best(self) -> tuple[int, float]:
        """Epoch and value of the best one, the first of equals."""
        sign = 1 if self.lower_is_better else -1
        return min(zip(self.epochs, self.values, strict=True), key=lambda pair: sign * pair[1])

    def at(self, epoch: int) -> float | None:
        """The value of an epoch; None where it was not recorded."""
        return dict(zip(self.epochs, self.values, strict=True)).get(epoch)


def read_series(history: History) -> dict[str, Series]:
    """Series by name, in order of first appearance; absent, null and non-finite values left out.

    Args:
        history: one mapping per epoch with an integer `epoch`; nested mappings become paths.
    """
    points: dict[str, list[tuple[int, float]]] = {}
    for line in history:
        for name, value in _numbers(line, ""):
            if name != "epoch":
                points.setdefault(name, []).append((int(line["epoch"]), value))
    return {
        name: Series(name=name, epochs=tuple(e for e, _ in p), values=tuple(v for _, v in p))
        for name, p in points.items()
    }


def undefined_epochs(history: History) -> dict[str, int]:
    """How many epochs recorded a figure without a value (null or not finite), by its name.

    A figure that was not asked for in an epoch is absent there and does not count. Names in order
    of first appearance; figures that always had a value are left out.

    Args:
        history: as for `read_series`.
    """
    counts: dict[str, int] = {}
    for line in history:
        for name in _without_value(line, ""):
            counts[name] = counts.get(name, 0) + 1
    return counts


def _without_value(content: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for key, value in content.items():
        if isinstance(value, Mapping):
            yield from _without_value(value, f"{prefix}{key}/")
        elif value is None or (isinstance(value, float) and not math.isfinite(value)):
            yield f"{prefix}{key}"


def _numbers(content: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, float]]:
    for key, value in content.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}{key}/")
        elif _is_number(value):
            yield f"{prefix}{key}", float(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
