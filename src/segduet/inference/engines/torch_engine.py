"""A network run by PyTorch, on the CPU or a GPU."""

import contextlib
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from segduet.core.errors import RequestError
from segduet.inference.engine import HeadAnswers, WindowAnswers
from segduet.networks.joint import JointNetwork
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
        network: a `JointNetwork`, or another module that is called like one and has no tasks.
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

    def predict(self, windows: np.ndarray, shares: np.ndarray) -> WindowAnswers:
        """Answers a batch of windows (B, C, Z, Y, X) with shares (B, 1, Z, Y, X), both float32.

        Raises:
            RequestError: the device has not enough memory for the batch.
        """
        with self._running(windows):
            outputs: TaskOutputs = self._module(self._moved(windows), self._moved(shares))
            return self._to_answers(outputs, windows.shape)

    def answer(self, sums: Mapping[str, np.ndarray]) -> HeadAnswers:
        """Answers of all tasks from sums (N, S), in float32 whatever the precision."""
        if not sums:
            return HeadAnswers(logits={}, features={})
        with torch.inference_mode():
            answers = self._joint.answer(self._moved_sums(sums))
        return HeadAnswers(
            logits={task: _to_numpy(a.logits) for task, a in answers.items()},
            features={task: _to_numpy(a.features) for task, a in answers.items()},
        )

    def attend(
        self, windows: np.ndarray, shares: np.ndarray, case_sums: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Where the heads look, see `Engine.attend`.

        Raises:
            RequestError: the device has not enough memory for the batch.
        """
        known = self._moved_sums({task: v[None] for task, v in case_sums.items()})
        with self._running(windows):
            maps = self._joint.attend(
                self._moved(windows),
                self._moved(shares),
                {task: v.expand(len(windows), -1) for task, v in known.items()},
            )
            batch, _, *spatial = windows.shape
            return {task: _to_numpy(m).reshape(batch, *spatial) for task, m in maps.items()}

    def close(self) -> None:
        """Lets go of the network; on a GPU its memory is returned to the driver."""
        self._network = None
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _autocast(self) -> contextlib.AbstractContextManager[object]:
        if self._precision is Precision.FP32:
            return contextlib.nullcontext()
        return torch.autocast(self._device.type, dtype=_AUTOCAST_TYPES[self._precision])

    @property
    def _module(self) -> nn.Module:
        assert self._network is not None, "the engine is closed"
        return self._network

    @property
    def _joint(self) -> JointNetwork:
        return cast(JointNetwork, self._module)

    def _moved(self, windows: np.ndarray) -> Tensor:
        """(B, C, Z, Y, X) on the device, or (B, C, Y, X) for a 2D network."""
        moved = torch.from_numpy(windows).to(self._device)
        return moved.squeeze(2) if self._num_spatial_dims == 2 else moved

    def _moved_sums(self, sums: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
        return {
            task: torch.from_numpy(v.astype(np.float32)).to(self._device)
            for task, v in sums.items()
        }

    @contextlib.contextmanager
    def _running(self, windows: np.ndarray) -> Iterator[None]:
        """Inference mode and precision; too little memory becomes an error to act on."""
        try:
            with torch.inference_mode(), self._autocast():
                yield
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
            raise RequestError(
                f"engine {self.name}",
                found=f"not enough memory for windows of shape {tuple(windows.shape)}",
                expected="memory for one batch of windows and the network's activations",
                remedy="Use a smaller tile batch, bf16 instead of fp32, or another device.",
            ) from error

    def _to_answers(self, outputs: TaskOutputs, shape: tuple[int, ...]) -> WindowAnswers:
        batch, _, *spatial = shape
        if outputs.segmentation:
            logits = _to_numpy(outputs.segmentation[0]).reshape(batch, -1, *spatial)
        else:
            logits = np.zeros((batch, 0, *spatial), dtype=np.float32)
        return WindowAnswers(
            logits=logits,
            sums={task: _to_numpy(v) for task, v in outputs.case_sums.items()},
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
