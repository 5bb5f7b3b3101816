"""Cases in the order of a value, those of equal value on one step.

What average precision and rank correlation have in common: they follow from how many cases stand on
each step, and no order among equals may show. N cases, S steps; leading axes (...) are resamples.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """Which cases share a value, from the lowest to the highest.

    Attributes:
        order: (N,) int64, sorts the cases.
        starts: (S,) int64, where in that order each step begins.
    """

    order: np.ndarray
    starts: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> Self:
        """The steps of some values.

        Args:
            values: (N,) finite numbers.
        """
        order = np.argsort(values, kind="stable")
        is_start = np.diff(values[order], prepend=-np.inf) != 0
        return cls(order=order, starts=np.flatnonzero(is_start))

    def sums(self, counted: np.ndarray) -> np.ndarray:
        """Sum over the cases of each step: (..., S).

        Args:
            counted: (..., N), in the order of the cases.
        """
        return np.asarray(np.add.reduceat(counted[..., self.order], self.starts, axis=-1))

    def of_cases(self, per_step: np.ndarray) -> np.ndarray:
        """The figure of each case's step: (..., N), in the order of the cases.

        Args:
            per_step: (..., S).
        """
        sizes = np.diff(self.starts, append=self.order.size)
        figures = np.empty((*per_step.shape[:-1], self.order.size))
        figures[..., self.order] = np.repeat(per_step, sizes, axis=-1)
        return figures


def below(per_step: np.ndarray) -> np.ndarray:
    """Sum over all lower steps: (..., S), 0 for the lowest.

    Args:
        per_step: (..., S), from the lowest step to the highest.
    """
    return np.asarray(np.cumsum(per_step, axis=-1) - per_step)
