"""What every balancer can do, and the sum most of them share."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from segduet.balancing.state import require_state

SEGMENTATION = "segmentation"


def task_term(task: str) -> str:
    """Name of a case-level task's loss term."""
    return f"task:{task}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trunk:
    """The parameters a balancer may take gradients at.

    Attributes:
        parameters: every parameter of the network that is trained.
        anchor: those of the encoder's last stage, which every term reaches.
        added_up: gradients of this process's share of a batch into those of the whole batch;
            whatever is not linear in the gradients must come after it.
    """

    parameters: tuple[nn.Parameter, ...]
    anchor: tuple[nn.Parameter, ...]
    added_up: Callable[[Sequence[Tensor]], list[Tensor]] = list

    def gradients_of(
        self, loss: Tensor, parameters: Sequence[nn.Parameter], *, retain_graph: bool
    ) -> list[Tensor | None]:
        """The batch's gradient of a loss at every parameter; None where the loss has none."""
        found = torch.autograd.grad(loss, parameters, retain_graph=retain_graph, allow_unused=True)
        whole = iter(self.added_up([gradient for gradient in found if gradient is not None]))
        return [None if gradient is None else next(whole) for gradient in found]

    def complete(self) -> None:
        """Turns every `.grad` from the share's gradient into that of the batch."""
        reached = [p for p in self.parameters if p.grad is not None]
        whole = self.added_up([p.grad for p in reached if p.grad is not None])
        for parameter, gradient in zip(reached, whole, strict=True):
            parameter.grad = gradient


class Balancer(Protocol):
    """Weighs the loss terms of a step against each other and puts gradients in place.

    A term whose loss is exactly 0 is unknown in the batch (no label, no mask): it takes no part in
    what a balancer learns or measures.

    Attributes:
        kind: name of the method, as in the configuration; also marks its saved state.
    """

    kind: str

    @abstractmethod
    def weights(self, epoch: int) -> dict[str, float]:
        """Weight of every term in an epoch (counted from 0), for the log."""
        ...

    def backward(
        self,
        losses: Mapping[str, Tensor],
        trunk: Trunk,
        *,
        epoch: int,
        scale: Tensor,
    ) -> Tensor:
        """Adds this step's gradients to `.grad` and returns the balanced loss for the log.

        Args:
            losses: scalars of the whole batch, exactly the terms the balancer was built for.
            trunk: where the terms meet.
            epoch: counted from 0.
            scale: scalar; every gradient is multiplied by it (the fp16 scaler's factor, else 1).

        Returns:
            Detached scalar, not scaled.
        """
        return backpropagate(weighted_sum(losses, self.weights(epoch)), trunk, scale=scale)

    def isolates_heads(self, epoch: int) -> bool:  # noqa: ARG002 - most never do
        """Whether the class losses must not reach the encoder in this epoch."""
        return False

    def parameters(self) -> Sequence[nn.Parameter]:
        """Learned weights; the optimiser trains them in a group of their own, without decay."""
        return ()

    def end_epoch(self, record: Mapping[str, Any]) -> None:  # noqa: ARG002 - most need none
        """Takes note of a finished epoch, once, before the checkpoint is written.

        Args:
            record: `epoch`, and under `train` and `validation` the mean loss of every term.

        Raises:
            RequestError: the record lacks what the balancer goes by.
        """
        return None  # noqa: RET501 - a body, or the method counts as abstract

    def progress(self) -> dict[str, Any]:
        """What has changed since the start; plain types, floats exact. Empty for most."""
        return {}

    def resume(self, progress: Mapping[str, Any]) -> None:  # noqa: ARG002 - most have no state
        """Takes up what `progress` gave; its keys have been checked."""
        return None  # noqa: RET501 - a body, or the method counts as abstract

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run must know, marked with the method it belongs to."""
        return {"kind": self.kind, "progress": self.progress()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes up what `state_dict` gave.

        Raises:
            DataError: the state is another method's, or of other terms.
        """
        require_state(state, self.state_dict())
        self.resume(state["progress"])


def weighted_sum(losses: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """Sum of weight times loss; a weight of 0 still keeps its term in the graph.

    Dropping the term would leave parameters without a gradient, which distributed training
    refuses.
    """
    assert losses.keys() == weights.keys(), (sorted(losses), sorted(weights))
    return torch.stack([weights[name] * losses[name] for name in weights]).sum()


def backpropagate(total: Tensor, trunk: Trunk, *, scale: Tensor) -> Tensor:
    """Puts the batch's gradients of `scale * total` into `.grad`; returns `total` detached.

    Learned weights of terms lie outside the trunk: every process finds their whole gradient.
    """
    (total * scale).backward()  # type: ignore[no-untyped-call]
    trunk.complete()
    return total.detach()


def known_terms(losses: Mapping[str, Tensor]) -> list[str]:
    """The terms the batch knows something about: those whose loss is not exactly 0."""
    return [name for name, loss in losses.items() if float(loss.detach()) != 0]


def normalised(raw: Mapping[str, float]) -> dict[str, float]:
    """Positive weights scaled so that they sum to their number."""
    total = sum(raw.values())
    return {name: len(raw) * value / total for name, value in raw.items()}
