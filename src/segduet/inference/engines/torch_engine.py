"""A network run by PyTorch, on the CPU or a GPU."""

import contextlib
from enum import StrEnum

import numpy as np
import torch
from torch import Tensor, nn

from segduet.core.errors import RequestError
from segduet.inference.engine import WindowAnswers
from segduet.networks.outputs import TaskOutputs


class Precision(StrEnum):
    """Number format of the network's arithmetic; answers are always float32."""

    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"


_AUTOCAST_TYPES = {Precision.BF16: torch.bfloat16, Precision.FP16: torch.float16}


class TorchEngine:
    """Runs a joint network; takes it over (moves it to the device, evaluation mode).

    Args:
        network: (B, C, *spatial) -> `TaskOutputs`; spatial is (Y, X) for 2D networks.
        num_spatial_dims: 2 or 3.
        device: such as `cpu`, `cuda` or `cuda:1`; never changed on failure.
        precision: fp32, or autocast to bf16 or fp16.

    Raises:
        RequestError: a GPU is asked for that is not there.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        num_spatial_dims: int,
        device: str = "cpu",
        precision: Precision = Precision.FP32,
    ) -> None:
        self._device = _available_device(device)
        self._precision = precision
        self._num_spatial_dims = num_spatial_dims
        self._network: nn.Module | None = network.to(self._device).eval()

    @property
    def name(self) -> str:
        """Runtime, device and precision, for manifests and messages."""
        return f"torch {self._device} {self._precision}"

    @property
    def num_spatial_dims(self) -> int:
        """2 or 3, as the network's convolutions."""
        return self._num_spatial_dims

    def predict(self, windows: np.ndarray) -> WindowAnswers:
        """Answers a batch of windows (B, C, Z, Y, X) float32.

        Raises:
            RequestError: the device has not enough memory for the batch.
        """
        assert self._network is not None, "the engine is closed"
        x = torch.from_numpy(windows)
        if self._num_spatial_dims == 2:
            x = x.squeeze(2)
        try:
            with torch.inference_mode(), self._autocast():
                outputs: TaskOutputs = self._network(x.to(self._device))
            return self._to_answers(outputs)
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
            raise RequestError(
                f"engine {self.name}",
                found=f"not enough memory for windows of shape {tuple(windows.shape)}",
                expected="memory for one batch of windows and the network's activations",
                remedy="Use a smaller tile batch, bf16 instead of fp32, or another device.",
            ) from error

    def close(self) -> None:
        """Lets go of the network; on a GPU its memory is returned to the driver."""
        self._network = None
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _autocast(self) -> contextlib.AbstractContextManager[object]:
        if self._precision is Precision.FP32:
            return contextlib.nullcontext()
        return torch.autocast(self._device.type, dtype=_AUTOCAST_TYPES[self._precision])

    def _to_answers(self, outputs: TaskOutputs) -> WindowAnswers:
        logits = outputs.segmentation[0]
        if self._num_spatial_dims == 2:
            logits = logits.unsqueeze(2)
        return WindowAnswers(
            logits=_to_numpy(logits),
            case_logits={task: _to_numpy(v) for task, v in outputs.case_logits.items()},
            evidence={task: _to_numpy(v) for task, v in outputs.evidence.items()},
        )


def _to_numpy(tensor: Tensor) -> np.ndarray:
    array: np.ndarray = tensor.detach().float().cpu().numpy()
    return array


def _available_device(name: str) -> torch.device:
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise RequestError(
            f"--device {name}",
            found=f"{torch.cuda.device_count()} CUDA devices that PyTorch can use",
            expected="the device asked for",
            remedy="Choose another device, such as cpu.",
        )
    return device


def _is_out_of_memory(error: RuntimeError) -> bool:
    # the CPU allocator has no error class of its own
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)
