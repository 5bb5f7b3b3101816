"""The gradient of every loss term on its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from segduet.balancing.protocol import Trunk


@dataclass(frozen=True, slots=True, kw_only=True)
class TermGradients:
    """Gradients of every term, split by whether several terms reach a parameter.

    Attributes:
        shared: parameters at least two terms reach (with heads that look at the decoder, its
            parameters too).
        rows: term -> its gradient at the shared parameters, flat, in their order.
        own: parameters exactly one term reaches, each with that term's gradient.
    """

    shared: tuple[nn.Parameter, ...]
    rows: Mapping[str, Tensor]
    own: tuple[tuple[nn.Parameter, Tensor], ...]

    @classmethod
    def of(cls, losses: Mapping[str, Tensor], trunk: Trunk) -> "TermGradients":
        """One backward pass per term, at the trunk's parameters; the last frees the graph."""
        names, parameters = list(losses), trunk.parameters
        found = {
            name: trunk.gradients_of(losses[name], parameters, retain_graph=name != names[-1])
            for name in names
        }
        reached = [[name for name in names if found[name][i] is not None] for i in _range(found)]
        shared = [i for i, by in enumerate(reached) if len(by) > 1]
        own = tuple(
            (parameters[i], gradient)
            for i, by in enumerate(reached)
            if len(by) == 1 and (gradient := found[by[0]][i]) is not None
        )
        places = [parameters[i] for i in shared]
        rows = {name: _flat([found[name][i] for i in shared], places) for name in names}
        return cls(shared=tuple(places), rows=rows, own=own)

    def store(self, shared_gradient: Tensor) -> None:
        """Adds to `.grad`: the own gradients unchanged, and `shared_gradient` cut into its places.

        Args:
            shared_gradient: flat, as long as a row.
        """
        for parameter, gradient in self.own:
            _add(parameter, gradient)
        sizes = [parameter.numel() for parameter in self.shared]
        for parameter, piece in zip(self.shared, torch.split(shared_gradient, sizes), strict=True):
            _add(parameter, piece.reshape(parameter.shape))


def _range(found: Mapping[str, Sequence[Tensor | None]]) -> range:
    return range(len(next(iter(found.values()))))


def _flat(gradients: Sequence[Tensor | None], places: Sequence[nn.Parameter]) -> Tensor:
    pieces = [
        (torch.zeros_like(place) if gradient is None else gradient).flatten()
        for gradient, place in zip(gradients, places, strict=True)
    ]
    return torch.cat(pieces) if pieces else torch.zeros(0)


def _add(parameter: nn.Parameter, gradient: Tensor) -> None:
    parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
