"""Weights of another network into this one, as far as they fit (B11)."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from segduet.core.errors import DataError

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmStartReport:
    """What became of every key on both sides.

    Attributes:
        loaded: keys that were copied.
        missing: keys of the network that keep their own values, as nothing was offered for them
            (nor for another name of the same tensor).
        unexpected: offered keys the network does not have.
        wrong_shape: key -> (offered shape, the network's shape); not copied.
    """

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    wrong_shape: Mapping[str, tuple[Shape, Shape]]


def is_backbone_kernel(key: str, weight: Tensor) -> bool:
    """Whether a weight shows by its shape what size of network it comes from.

    Biases and single numbers fit many sizes, and so do a head's last layers.
    """
    return weight.ndim > 1 and not key.startswith("heads.")


def load_matching(network: nn.Module, weights: Mapping[str, Tensor]) -> WarmStartReport:
    """Copies every weight whose name and shape fit into the network, in place.

    Args:
        network: keeps its values wherever nothing fits.
        weights: state dict of any network, such as a stock nnU-Net one without heads.

    Returns:
        A report that accounts for every key of the network and of `weights`.

    Raises:
        DataError: not one kernel of the backbone fits, as in a network of another width or kind.
    """
    own = network.state_dict(keep_vars=True)
    shared = [key for key in weights if key in own]
    fitting = [key for key in shared if weights[key].shape == own[key].shape]
    if not any(is_backbone_kernel(key, weights[key]) for key in fitting):
        kernels = [key for key, weight in weights.items() if is_backbone_kernel(key, weight)]
        raise DataError(
            "warm start",
            found=f"{len(kernels)} kernels, none of which fits; the first are {kernels[:3]}",
            expected=f"names and shapes such as {list(own)[:3]}",
            remedy="Give weights of a network of the same kind, size and plan.",
        )
    with torch.no_grad():
        for key in fitting:
            own[key].copy_(weights[key])
    reached = {id(own[key]) for key in fitting}
    wrong = [key for key in shared if weights[key].shape != own[key].shape]
    return WarmStartReport(
        loaded=tuple(fitting),
        missing=tuple(k for k, v in own.items() if id(v) not in reached and k not in wrong),
        unexpected=tuple(key for key in weights if key not in own),
        wrong_shape={key: (tuple(weights[key].shape), tuple(own[key].shape)) for key in wrong},
    )
