"""Convolutions whose weights PyTorch gives a wrong gradient in bf16 on a CPU. Z depth."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

#: Narrower convolutions, by input and output channels of a group, take another kernel.
_FEWEST_CHANNELS = 16


def obstacle_to_bf16(network: nn.Module, window: Sequence[int], device: torch.device) -> str:
    """What keeps a network's training from bf16 on a device; empty where nothing does.

    PyTorch 2.13.0 (oneDNN 3.12.0, avx512_core_bf16) leaves part of some 3D convolutions' weight
    gradient as the memory was, in bf16 on a CPU, without a word: where the input has fewer slices
    than the kernel, the output two or more, and the stride is no longer than the padding. In a
    U-Net those are the 3 x 3 x 3 convolutions between maps two slices deep. Outputs and gradients
    of inputs are right, and so is prediction.

    Args:
        network: on the CPU; it does not run, its shapes alone are followed, and it stays as it is.
        window: (C, *spatial) of what it is trained with.
        device: of the training.
    """
    if device.type != "cpu":
        return ""
    was_training = network.training
    network.eval()
    watch = _Watch()
    try:
        with FakeTensorMode(allow_non_fake_inputs=True), watch, torch.no_grad():
            network(torch.zeros(1, *window))
    finally:
        network.train(was_training)
    if not watch.found:
        return ""
    kernel, depth = watch.found[0]
    return (
        f"a {' x '.join(map(str, kernel))} convolution of feature maps {depth} deep, whose weights "
        f"PyTorch gives a wrong gradient in bf16 on a CPU"
    )


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Writes down the kernel and the depth of every convolution concerned."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: list[tuple[tuple[int, ...], int]] = []

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.convolution.default:
            image, weight, _bias, stride, padding, dilation, transposed, _more, groups = args
            # a transposed convolution is one from its output to its input
            from_Z, to_Z = _depths(output, image) if transposed else _depths(image, output)
            channels = max(image.shape[1], output.shape[1]) // groups
            is_plain_3d = weight.ndim == 5 and max(dilation) == 1
            is_thin = from_Z < weight.shape[2] and to_Z > 1 and stride[0] <= padding[0]
            if is_plain_3d and is_thin and channels >= _FEWEST_CHANNELS:
                self.found.append((tuple(weight.shape[2:]), from_Z))
        return output


def _depths(source: Tensor, target: Tensor) -> tuple[int, int]:
    return source.shape[2], target.shape[2]
