"""A converted network run by ONNX Runtime, on the CPU or an NVIDIA GPU; needs no PyTorch."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as raised

from segduet.core.errors import DataError, RequestError
from segduet.core.runtime import (
    IMAGE,
    LOGITS,
    SHARES,
    ConvertedNetwork,
    RuntimeFormat,
    answer_names,
    evidence_name,
    heads_outputs,
    sums_name,
    window_outputs,
)
from segduet.inference.engine import HeadAnswers, WindowAnswers

OnnxProvider = Literal["cpu", "cuda", "tensorrt"]
OnnxPrecision = Literal["fp32", "fp16"]

_CPU, _CUDA, _TENSORRT = (f"{name}ExecutionProvider" for name in ("CPU", "CUDA", "Tensorrt"))
_PROVIDERS: dict[OnnxProvider, str] = {"cpu": _CPU, "cuda": _CUDA, "tensorrt": _TENSORRT}

# ONNX Runtime has no common class for what it raises.
_RUNTIME_ERRORS = (
    raised.EngineError,
    raised.EPFail,
    raised.Fail,
    raised.InvalidArgument,
    raised.InvalidGraph,
    raised.InvalidProtobuf,
    raised.NoModel,
    raised.NoSuchFile,
    raised.NotImplemented,
    raised.RuntimeException,
)
_OUT_OF_MEMORY = ("Failed to allocate memory", "bad_alloc", "bad allocation", "out of memory")
_ERRORS_ONLY = 3  # severity from which ONNX Runtime writes to standard error


class OnnxEngine:
    """Runs the two graphs of a network that was converted to ONNX.

    The heads' last layers, a few thousand multiplications, run on the CPU in fp32 whatever the
    provider and precision.

    Args:
        folder: holds the converted network's files.
        converted: the network, in the format ONNX.
        provider: what runs the windows; never replaced by another one.
        device_index: which GPU.
        num_threads: threads on the CPU; None takes every core this process may use.
        precision: fp32, or fp16 for TensorRT.

    Raises:
        RequestError: a provider or precision that cannot be had.
        DataError: a file is missing or damaged.
    """

    def __init__(
        self,
        folder: Path,
        converted: ConvertedNetwork,
        *,
        provider: OnnxProvider = "cpu",
        device_index: int = 0,
        num_threads: int | None = None,
        precision: OnnxPrecision = "fp32",
    ) -> None:
        assert converted.format is RuntimeFormat.ONNX, converted
        _require_precision(provider, precision)
        _require_provider(provider)
        onnxruntime.disable_telemetry_events()  # builds for Windows report to Microsoft
        self._converted = converted
        device = provider if provider == "cpu" else f"{provider}:{device_index}"
        self._name = f"onnx {device} {precision}"
        options = _session_options(num_threads)
        self._windows: Any = _opened(
            folder / converted.windows_file,
            options,
            _provider_options(provider, device_index, precision),
        )
        self._heads: Any = None
        if converted.heads_file is not None:
            self._heads = _opened(folder / converted.heads_file, options, [(_CPU, {})])

    @property
    def name(self) -> str:
        """Runtime, device and precision, for manifests and messages."""
        return self._name

    @property
    def num_spatial_dims(self) -> int:
        """2 or 3, as the network's convolutions."""
        return self._converted.num_spatial_dims

    def predict(self, windows: np.ndarray, shares: np.ndarray) -> WindowAnswers:
        """Answers a batch of windows (B, C, Z, Y, X) with shares (B, 1, Z, Y, X), both float32.

        Raises:
            RequestError: not enough memory for the batch, or windows the network does not take.
        """
        assert self._windows is not None, "the engine is closed"
        tasks = self._converted.tasks
        names = window_outputs(len(tasks), with_masks=self._converted.with_masks)
        feeds = {IMAGE: self._planar(windows), SHARES: self._planar(shares)}
        outputs = self._run(self._windows, names, feeds, what=f"windows {windows.shape}")
        return WindowAnswers(
            logits=self._logits(outputs, windows.shape),
            sums={task.name: outputs[sums_name(i)] for i, task in enumerate(tasks)},
            evidence={task.name: outputs[evidence_name(i)] for i, task in enumerate(tasks)},
        )

    def answer(self, sums: Mapping[str, np.ndarray]) -> HeadAnswers:
        """Answers of all tasks from sums (N, S)."""
        tasks = self._converted.tasks
        if not tasks:
            return HeadAnswers(logits={}, features={})
        assert self._heads is not None, "the engine is closed"
        feeds = {sums_name(i): sums[t.name].astype(np.float32) for i, t in enumerate(tasks)}
        names = heads_outputs(len(tasks))
        outputs = self._run(self._heads, names, feeds, what="sums of windows")
        per_task = {task.name: answer_names(i) for i, task in enumerate(tasks)}
        return HeadAnswers(
            logits={task: outputs[logits] for task, (logits, _) in per_task.items()},
            features={task: outputs[features] for task, (_, features) in per_task.items()},
        )

    def attend(
        self, windows: np.ndarray, shares: np.ndarray, case_sums: Mapping[str, np.ndarray]
    ) -> NoReturn:
        """Maps of attention are not part of a converted network.

        Raises:
            RequestError: always.
        """
        del windows, shares, case_sums  # what the protocol gives
        raise RequestError(
            f"engine {self.name}",
            found="a wish for maps of attention",
            expected="answers only: converted networks do not give such maps",
            remedy="Use --engine torch, or leave --attention out.",
        )

    def close(self) -> None:
        """Lets go of the network and its threads."""
        self._windows = self._heads = None

    def _planar(self, windows: np.ndarray) -> np.ndarray:
        """(B, C, Z, Y, X), or (B, C, Y, X) for a 2D network."""
        return windows[:, :, 0] if self.num_spatial_dims == 2 else windows

    def _logits(
        self, outputs: Mapping[str, np.ndarray], window_shape: tuple[int, ...]
    ) -> np.ndarray:
        batch, _, *spatial = window_shape
        if not self._converted.with_masks:
            return np.zeros((batch, 0, *spatial), dtype=np.float32)
        return outputs[LOGITS].reshape(batch, -1, *spatial)

    def _run(
        self, session: Any, names: Sequence[str], feeds: Mapping[str, np.ndarray], *, what: str
    ) -> dict[str, np.ndarray]:
        try:
            return dict(zip(names, session.run(names, feeds), strict=True))
        except (*_RUNTIME_ERRORS, MemoryError) as error:
            raise self._run_error(error, what) from error

    def _run_error(self, error: Exception, what: str) -> RequestError:
        where = f"engine {self.name}"
        if isinstance(error, MemoryError) or any(text in str(error) for text in _OUT_OF_MEMORY):
            return RequestError(
                where,
                found=f"not enough memory for {what}",
                expected="memory for one batch of windows and the network's activations",
                remedy="Use a smaller tile batch, or another device.",
            )
        return RequestError(
            where,
            found=f"{what}, which ONNX Runtime refused: {_on_one_line(error)}",
            expected="the network's channels, and sizes that are multiples of its total stride",
            remedy="Check the image against the model; --engine torch runs every network.",
        )


def _require_precision(provider: OnnxProvider, precision: OnnxPrecision) -> None:
    if precision == "fp16" and provider != "tensorrt":
        raise RequestError(
            "--precision fp16",
            found=f"ONNX Runtime on {provider}",
            expected="fp32, or TensorRT, which makes its own fp16 network",
            remedy="Use --precision fp32, or --engine tensorrt or torch on a GPU.",
        )


def _require_provider(provider: OnnxProvider) -> None:
    available = onnxruntime.get_available_providers()
    if _PROVIDERS[provider] not in available:
        raise RequestError(
            f"ONNX Runtime on {provider}",
            found=f"a build with {', '.join(available)}",
            expected=_PROVIDERS[provider],
            remedy="Install onnxruntime-gpu in place of onnxruntime (pip uninstall onnxruntime; "
            "pip install onnxruntime-gpu), or choose another engine or device.",
        )


def _provider_options(
    provider: OnnxProvider, device_index: int, precision: OnnxPrecision
) -> list[tuple[str, dict[str, str]]]:
    gpu = {"device_id": str(device_index)}
    # by default it computes in TF32, whose 10 bits are not fp32
    cuda = (_CUDA, {**gpu, "use_tf32": "0"})
    match provider:
        case "cpu":
            return [(_CPU, {})]
        case "cuda":
            return [cuda]
        case "tensorrt":
            is_half = str(precision == "fp16")
            # what TensorRT has no kernel for stays on the same GPU
            return [(_TENSORRT, {**gpu, "trt_fp16_enable": is_half}), cuda]


def _session_options(num_threads: int | None) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads or len(os.sched_getaffinity(0))
    options.log_severity_level = _ERRORS_ONLY
    # Between two layers threads wait busily, which is what makes small layers fast; but not
    # between two runs, where they would take the cores from other members and from the stages
    # before and after the network.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return options


def _opened(file: Path, options: Any, providers: list[tuple[str, dict[str, str]]]) -> Any:
    """A session that runs on the first of the providers.

    Raises:
        DataError: the file is missing or damaged.
        RequestError: the provider could not start, where ONNX Runtime goes on with another.
    """
    try:
        session = onnxruntime.InferenceSession(file, options, providers=providers)
    except _RUNTIME_ERRORS as error:
        raise DataError(
            str(file),
            found=f"a network ONNX Runtime cannot load: {_on_one_line(error)}",
            expected="the converted network as it was written",
            remedy="Export or convert the model again.",
        ) from error
    wanted, got = providers[0][0], session.get_providers()[0]
    if got != wanted:
        raise RequestError(
            f"ONNX Runtime with {wanted}",
            found=f"{got} after {wanted} failed to start (its message is above)",
            expected="the GPU libraries that this build of onnxruntime-gpu needs",
            remedy="Install the matching CUDA, cuDNN and TensorRT, or choose another engine.",
        )
    return session


def _on_one_line(error: Exception) -> str:
    return " ".join(str(error).split())
