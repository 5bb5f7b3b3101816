"""Averages of the weights over a training, which become the model (F53)."""

import copy
from collections.abc import Iterable
from typing import Protocol, assert_never

import torch
from torch import nn

from segduet.training.averaging_config import AveragingConfig, EmaConfig, NoAveraging, SwaConfig
from segduet.training.devices import Compute
from segduet.training.samples import Batch
from segduet.training.tensors import unique_tensors


class WeightAverage(Protocol):
    """A second network that holds an average of the one in training.

    Attributes:
        network: the average, in evaluation mode.
        num_updates: how often weights have been taken in; at 0 there is no average yet.
    """

    network: nn.Module
    num_updates: int

    def update(self, network: nn.Module) -> None:
        """Called after every step."""
        ...

    def end_epoch(self, network: nn.Module, *, epoch: int) -> None:
        """Called after every epoch, counted from 0."""
        ...


class ExponentialAverage:
    """Average of a network's weights: a <- d a + (1 - d) w, with d rising to `decay` at the start.

    The rise, d = min(decay, (1 + n) / (10 + n)) after n updates, keeps early weights from lasting.
    Running statistics (floating-point buffers) are averaged like the weights they belong to, since
    those of today's weights do not describe the features of the averaged ones; counters are copied.

    Args:
        network: the network being trained; the average starts as a copy of it.
        decay: in (0, 1).

    Source: Polyak and Juditsky 1992, doi 10.1137/0330046; the warm-up is TensorFlow's.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.num_updates = 0
        self._decay = decay

    def update(self, network: nn.Module) -> None:
        """Takes in the weights and running statistics after a step."""
        decay = min(self._decay, (1 + self.num_updates) / (10 + self.num_updates))
        _move_towards(self.network, network, 1 - decay)
        self.num_updates += 1

    def end_epoch(self, network: nn.Module, *, epoch: int) -> None:
        """Does nothing: every step has been taken in."""


class PlainAverage:
    """Stochastic weight averaging: the mean of the weights at the end of the last epochs.

    Running statistics are averaged likewise; those of batch normalisation are estimated anew at the
    end, see `refresh_batch_norm`. The rate is that of the schedule, where the paper's is constant
    or cyclic while it averages.

    Args:
        network: the network being trained.
        first_epoch: first epoch, counted from 0, that is averaged.

    Source: Izmailov et al. 2018, arXiv 1803.05407, algorithm 1.
    """

    def __init__(self, network: nn.Module, first_epoch: int) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.num_updates = 0
        self._first_epoch = first_epoch

    def update(self, network: nn.Module) -> None:
        """Does nothing: only the ends of epochs count."""

    def end_epoch(self, network: nn.Module, *, epoch: int) -> None:
        """Takes in the weights of an epoch that is averaged."""
        if epoch >= self._first_epoch:
            _move_towards(self.network, network, 1 / (self.num_updates + 1))
            self.num_updates += 1


def build_average(
    config: AveragingConfig, network: nn.Module, *, num_epochs: int
) -> WeightAverage | None:
    """The average of a configuration, for a training of so many epochs; None for none."""
    match config:
        case NoAveraging():
            return None
        case EmaConfig():
            return ExponentialAverage(network, config.decay)
        case SwaConfig():
            return PlainAverage(network, config.first_epoch(num_epochs))
        case _:
            assert_never(config)


@torch.no_grad()
def _move_towards(average: nn.Module, network: nn.Module, share: float) -> None:
    # each tensor once: nnU-Net's state dict names the encoder twice, and would move it twice
    current = unique_tensors(network)
    for name, mine in unique_tensors(average).items():
        if mine.is_floating_point():
            mine.lerp_(current[name], share)
        else:
            mine.copy_(current[name])


def has_batch_norm(network: nn.Module) -> bool:
    """Whether any layer normalises by running statistics of its batches."""
    return bool(_batch_norms(network))


@torch.no_grad()
def refresh_batch_norm(network: nn.Module, patches: Iterable[Batch], compute: Compute) -> None:
    """Estimates batch normalisation's statistics anew: their plain mean over the batches given.

    Averaged weights make other features than the weights whose statistics were averaged. Every
    other layer stays in evaluation mode, so nothing is drawn at random.

    Args:
        network: the averaged network, in evaluation mode; left so.
        patches: training batches, at least one.
        compute: where and how to compute.

    Source: Izmailov et al. 2018, arXiv 1803.05407, section 3.2.
    """
    layers = _batch_norms(network)
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # torch: the cumulative mean
        layer.train()
    for batch in patches:
        with compute.autocast():
            network(batch.to(compute.device).image)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
        layer.eval()


def _batch_norms(network: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    kind = nn.modules.batchnorm._BatchNorm
    return [m for m in network.modules() if isinstance(m, kind) and m.track_running_stats]
