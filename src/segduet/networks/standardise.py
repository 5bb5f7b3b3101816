"""Features on one scale, whatever the network makes of them. B batch, C channels."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

_SLOWEST = 0.02  # share of a new batch in the statistics once they have settled
_LIMIT = 5.0  # standard deviations; a window unlike all others must not drown the rest
_VARIANCE_FLOOR = 1e-6


class RunningStandardiser(nn.Module):
    """Subtracts every channel's running mean and divides by its running standard deviation.

    Pooled features of different cases differ little beside what they have in common, and a
    perceptron on the raw values learns that difference so slowly that it answers one class for
    all. Batch statistics would cure it too, but not for batches of two. Training and evaluation
    use the same running statistics; training updates them first.

    Until the first training batch it only limits the values.

    Attributes:
        whole_batch: from (b, C) features to those of the whole batch (B, C), where several
            processes share it out.
    """

    whole_batch: Callable[[Tensor], Tensor]

    mean: Tensor
    variance: Tensor
    num_batches: Tensor

    def __init__(self, width: int) -> None:
        """Builds it for vectors of `width` channels."""
        super().__init__()
        self.whole_batch = _as_it_is
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("variance", torch.ones(width))
        self.register_buffer("num_batches", torch.zeros((), dtype=torch.int64))

    def forward(self, features: Tensor) -> Tensor:
        """Standardised features.

        Args:
            features: (B, C) float32.

        Returns:
            (B, C) float32 in [-5, 5].
        """
        if self.training:
            self._update(self.whole_batch(features.detach()))
        deviation = torch.sqrt(self.variance + _VARIANCE_FLOOR)
        return ((features - self.mean) / deviation).clamp(-_LIMIT, _LIMIT)

    @torch.no_grad()
    def _update(self, features: Tensor) -> None:
        # The plain average over the first batches, then one that forgets: the encoder moves on.
        self.num_batches += 1
        share = (1 / self.num_batches).clamp_min(_SLOWEST)
        self.mean.lerp_(features.mean(0), share)
        self.variance.lerp_((features - self.mean).square().mean(0), share)


def _as_it_is(features: Tensor) -> Tensor:
    return features
