"""The processes that train one network together, and what they tell each other.

Every process draws its share of the same batch, and every process knows the losses of the whole
batch; but its graph reaches only its own share of the samples. So the sum of the processes'
gradients is the gradient of the batch, exactly as one process would find it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class Processes:
    """One process among those of a training; a single one hears only itself.

    Whatever is asked here of one must be asked of all, in the same order.

    Attributes:
        rank: number of this process, from 0; the first one writes.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes for all."""
        return self.rank == 0

    def share(self, whole: Sequence[Item]) -> Sequence[Item]:
        """This process's stretch of a batch, all equally long and in the order of the ranks."""
        length = len(whole) // self.size
        assert length * self.size == len(whole), (len(whole), self.size)
        return whole[self.rank * length : (self.rank + 1) * length]

    def summed(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Every tensor summed over the processes; a gradient goes back to one's own alone.

        Args:
            tensors: of the same shapes everywhere; of several processes they come back as float32.
        """
        if self.size == 1:
            return tensors
        flat = torch.cat([tensor.reshape(-1).float() for tensor in tensors])
        total: Tensor = _Summed.apply(flat)  # type: ignore[no-untyped-call]
        pieces = torch.split(total, [t.numel() for t in tensors])
        return tuple(p.reshape(t.shape) for p, t in zip(pieces, tensors, strict=True))

    def mean(self, tensor: Tensor) -> Tensor:
        """The mean over the batch of what is a mean over a share; the gradient stays one's own."""
        return tensor if self.size == 1 else self.summed(tensor)[0] / self.size

    def joined(self, share: Tensor) -> Tensor:
        """The whole batch: shares (b, ...) to (B, ...); a gradient goes back to one's own alone."""
        if self.size == 1:
            return share
        whole: Tensor = _Joined.apply(share, self)  # type: ignore[no-untyped-call]
        return whole

    @torch.no_grad()
    def added_up(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        """Gradients summed over the processes, the same bits everywhere; new tensors.

        Args:
            gradients: as many and of the same shapes everywhere; may be none.
        """
        if self.size == 1 or not gradients:
            return list(gradients)
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        distributed.all_reduce(flat)
        pieces = torch.split(flat, [gradient.numel() for gradient in gradients])
        return [p.reshape(g.shape) for p, g in zip(pieces, gradients, strict=True)]

    def any(self, claim: bool) -> bool:
        """Whether any process claims so."""
        return any(self.gathered(claim))

    def gathered(self, item: Item) -> list[Item]:
        """Every process's item, by rank."""
        if self.size == 1:
            return [item]
        items: list[Any] = [None] * self.size
        distributed.all_gather_object(items, item)
        return items

    def wait_for_all(self) -> None:
        """Returns once every process has come here: what one wrote before, all can read."""
        if self.size > 1:
            distributed.barrier()


ONE_PROCESS = Processes()


def all_summed(tensor: Tensor) -> Tensor:
    """The tensor summed over the processes, as a new one that knows no gradient of its own."""
    total = tensor.clone()
    distributed.all_reduce(total)
    return total


class _Summed(torch.autograd.Function):
    """Sum over the processes; every process's loss is the same, so each keeps its own gradient."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:  # noqa: ARG004
        return all_summed(tensor)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:  # noqa: ARG004
        return gradients[0]


class _Joined(torch.autograd.Function):
    """Concatenation over the processes along the first axis."""

    @staticmethod
    def forward(ctx: Any, share: Tensor, processes: Processes) -> Tensor:
        ctx.stretch = slice(processes.rank * len(share), (processes.rank + 1) * len(share))
        shares = [torch.empty_like(share) for _ in range(processes.size)]
        distributed.all_gather(shares, share.contiguous())
        return torch.cat(shares)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0][ctx.stretch], None
