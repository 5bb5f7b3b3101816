"""A converted network run by ONNX Runtime, on the CPU or an NVIDIA GPU; needs no PyTorch."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as raised

from segduet.core.errors import DataError, RequestError
from segduet.core.runtime import ConvertedNetwork, RuntimeFormat
from segduet.inference.engines.converted_engine import ConvertedEngine, GraphRefusalError

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


class OnnxGraph:
    """A graph that ONNX Runtime has loaded."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def run(
        self, inputs: Mapping[str, np.ndarray], outputs: Sequence[str]
    ) -> dict[str, np.ndarray]:
        """Outputs of these names.

        Raises:
            MemoryError: not enough memory.
            GraphRefusalError: inputs that the graph does not take.
        """
        try:
            return dict(zip(outputs, self._session.run(outputs, inputs), strict=True))
        except _RUNTIME_ERRORS as error:
            if any(text in str(error) for text in _OUT_OF_MEMORY):
                raise MemoryError(str(error)) from error
            raise GraphRefusalError(_on_one_line(error)) from error


def open_onnx(
    folder: Path,
    converted: ConvertedNetwork,
    *,
    provider: OnnxProvider = "cpu",
    device_index: int = 0,
    num_threads: int | None = None,
    precision: OnnxPrecision = "fp32",
) -> ConvertedEngine:
    """An engine for a network that was converted to ONNX.

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
    assert converted.format is RuntimeFormat.ONNX, converted
    _require_precision(provider, precision)
    _require_provider(provider)
    onnxruntime.disable_telemetry_events()  # builds for Windows report to Microsoft
    options = _session_options(num_threads)
    providers = _provider_options(provider, device_index, precision)
    heads = converted.heads_file
    device = provider if provider == "cpu" else f"{provider}:{device_index}"
    return ConvertedEngine(
        converted,
        windows=_opened(folder / converted.windows_file, options, providers),
        heads=None if heads is None else _opened(folder / heads, options, [(_CPU, {})]),
        name=f"onnx {device} {precision}",
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


def _opened(file: Path, options: Any, providers: list[tuple[str, dict[str, str]]]) -> OnnxGraph:
    """A graph that runs on the first of the providers.

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
    return OnnxGraph(session)


def _on_one_line(error: Exception) -> str:
    return " ".join(str(error).split())
