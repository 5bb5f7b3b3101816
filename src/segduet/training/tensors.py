"""The tensors of a module by name."""

from torch import Tensor, nn


def unique_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name, each once (nnU-Net's decoder names the encoder again)."""
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}
