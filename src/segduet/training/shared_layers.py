"""Layers that look at a whole batch see the whole batch of all processes. B batch, C channels."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from segduet.networks.standardise import RunningStandardiser
from segduet.training.processes import Processes, all_summed


def share_layers(network: nn.Module, processes: Processes) -> None:
    """Makes a network compute a share of a batch as if it saw the whole; names stay as they are.

    Batch normalisation and running standardisation take their statistics over all processes, and
    dropout draws for the whole batch and applies its stretch, so that every process draws equally
    often from the same stream. Nothing changes for a single process.
    """
    if processes.size == 1:
        return
    made: dict[nn.Module, nn.Module] = {}
    for module in list(network.modules()):
        if isinstance(module, RunningStandardiser):
            module.whole_batch = processes.joined
        # nnU-Net's blocks hold a layer under two names; both must name the same new one
        for name, child in module._modules.items():
            if isinstance(child, _BatchNorm | _DropoutNd):
                made.setdefault(child, _shared(child, processes))
                setattr(module, name, made[child])


def _shared(layer: _BatchNorm | _DropoutNd, processes: Processes) -> nn.Module:
    if isinstance(layer, _DropoutNd):
        return _SharedDropout(layer, processes)
    return _SharedBatchNorm.of(layer, processes)


class _SharedDropout(nn.Module):
    """A dropout layer whose mask is its stretch of the whole batch's mask."""

    def __init__(self, layer: _DropoutNd, processes: Processes) -> None:
        super().__init__()
        self.layer = layer
        self._processes = processes

    def forward(self, values: Tensor) -> Tensor:
        if not self.training or self.layer.p == 0:
            return values
        axes = {nn.Dropout2d: 2, nn.Dropout3d: 3}.get(type(self.layer), 0)
        shape = values.shape[: values.ndim - axes] + (1,) * axes
        ones = values.new_ones((len(values) * self._processes.size, *shape[1:]))
        mask = functional.dropout(ones, self.layer.p, training=True)
        first = self._processes.rank * len(values)
        return values * mask[first : first + len(values)]


class _SharedBatchNorm(_BatchNorm):
    """Batch normalisation over all processes, on any device.

    torch's own (`nn.SyncBatchNorm`) does the same on GPUs only. In evaluation it is plain batch
    normalisation with the running statistics, and no process waits for another.

    Source: Ioffe and Szegedy 2015, arXiv 1502.03167, algorithm 1.
    """

    processes: Processes

    @classmethod
    def of(cls, layer: _BatchNorm, processes: Processes) -> "_SharedBatchNorm":
        """Takes over parameters and running statistics."""
        shared = cls(layer.num_features, eps=layer.eps, momentum=layer.momentum, affine=False)
        shared.affine = layer.affine
        shared.weight, shared.bias = layer.weight, layer.bias
        for name, buffer in layer.named_buffers():
            setattr(shared, name, buffer)
        shared.processes = processes
        return shared.train(layer.training)

    def forward(self, values: Tensor) -> Tensor:
        """Normalised values (B, C, ...) of this process's share, in their dtype."""
        if not self.training:
            return super().forward(values)
        rows = values.float().transpose(0, 1).flatten(1)  # (C, B and space)
        count = rows.shape[1] * self.processes.size
        mean = _over_all(rows.sum(1)) / count
        centred = rows - mean[:, None]
        variance = _over_all(centred.square().sum(1)) / count
        self._take_note(mean.detach(), variance.detach() * count / (count - 1))
        normal = centred * torch.rsqrt(variance + self.eps)[:, None]
        if self.affine:
            normal = normal * self.weight[:, None] + self.bias[:, None]
        shape = (values.shape[1], values.shape[0], *values.shape[2:])
        normalised: Tensor = normal.reshape(shape).transpose(0, 1).to(values.dtype)
        return normalised

    @torch.no_grad()
    def _take_note(self, mean: Tensor, variance: Tensor) -> None:
        counter, running_mean, running_variance = (
            self.num_batches_tracked,
            self.running_mean,
            self.running_var,
        )
        assert counter is not None
        assert running_mean is not None
        assert running_variance is not None
        counter += 1
        share = 1 / float(counter) if self.momentum is None else self.momentum
        running_mean.lerp_(mean, share)
        running_variance.lerp_(variance, share)

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002 - torch's name
        assert input.ndim >= 2, input.shape


def _over_all(sums: Tensor) -> Tensor:
    total: Tensor = _SummedBothWays.apply(sums)  # type: ignore[no-untyped-call]
    return total


class _SummedBothWays(torch.autograd.Function):
    """Sum over the processes of values and of gradients: every share depends on the statistics."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:  # noqa: ARG004
        return all_summed(tensor)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:  # noqa: ARG004
        return all_summed(gradients[0])
