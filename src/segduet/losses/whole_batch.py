"""A loss of a batch that several processes share out."""

from typing import Protocol

from torch import Tensor


class AddedUp(Protocol):
    """Sums over a process's share of a batch, added up to those of the whole batch.

    What is divided by a sum (of voxels, of weights, of a Dice) must be added up before it is
    divided. The gradient of what comes out goes to the process's own share alone.
    """

    def __call__(self, *sums: Tensor) -> tuple[Tensor, ...]:
        """The sums of the batch, of the same shapes."""
        ...


def as_they_are(*sums: Tensor) -> tuple[Tensor, ...]:
    """For a batch that is not shared out."""
    return sums
