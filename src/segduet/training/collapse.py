"""Whether a task's answers have collapsed to one class."""

from collections import Counter
from collections.abc import Iterable
from typing import Any, Self

import numpy as np


class ClassCounts:
    """Predicted and true classes of an epoch's windows, per task; unknown ones do not count."""

    def __init__(self) -> None:
        self._predicted: dict[str, Counter[int]] = {}
        self._true: dict[str, Counter[int]] = {}

    def add(self, task: str, predicted: np.ndarray, true: np.ndarray) -> None:
        """Counts the windows of a batch.

        Args:
            task: name.
            predicted: (B,) integer class index.
            true: (B,) class index, NaN where it is unknown.
        """
        known = ~np.isnan(true)
        self._predicted.setdefault(task, Counter()).update(predicted[known].tolist())
        self._true.setdefault(task, Counter()).update(true[known].astype(int).tolist())

    @classmethod
    def together(cls, parts: Iterable["ClassCounts"]) -> Self:
        """The counts of several processes as one."""
        whole = cls()
        for part in parts:
            for mine, theirs in (
                (whole._predicted, part._predicted),
                (whole._true, part._true),
            ):
                for task, counter in theirs.items():
                    mine.setdefault(task, Counter()).update(counter)
        return whole

    def record(self) -> dict[str, dict[str, Any]]:
        """Task -> `share` and `class` index of its most frequent answer, `label_share` of labels.

        A task without a known window is left out.
        """
        found = {}
        for task, counter in self._predicted.items():
            if counter:
                index, count = counter.most_common(1)[0]
                labels = self._true[task]
                found[task] = {
                    "share": count / counter.total(),
                    "class": index,
                    "label_share": max(labels.values()) / labels.total(),
                }
        return found
