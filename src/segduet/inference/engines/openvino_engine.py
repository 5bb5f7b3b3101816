"""A converted network run by OpenVINO on the CPU; needs no PyTorch."""

import functools
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from segduet.core.errors import DataError, RequestError, StorageError
from segduet.core.runtime import ConvertedNetwork, RuntimeFormat, StoredPrecision
from segduet.inference.engines.converted_engine import ConvertedEngine, GraphRefusalError
from segduet.inference.engines.openvino_import import import_openvino

OpenVinoPrecision = Literal["fp32", "bf16", "int8"]

_DEVICE = "CPU"
# Left to itself OpenVINO computes in bf16 where it can.
_HINTS: dict[OpenVinoPrecision, str] = {"fp32": "f32", "bf16": "bf16"}
_OUT_OF_MEMORY = ("bad_alloc", "bad allocation", "allocate", "out of memory")


class OpenVinoGraph:
    """A graph that OpenVINO has compiled; every thread that runs it has a request of its own."""

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled
        self._of_thread = threading.local()

    def run(
        self, inputs: Mapping[str, np.ndarray], outputs: Sequence[str]
    ) -> dict[str, np.ndarray]:
        """Outputs of these names, in memory of their own.

        Raises:
            MemoryError: not enough memory.
            GraphRefusalError: inputs that the graph does not take.
        """
        try:
            answers = self._request().infer(dict(inputs), share_inputs=True, share_outputs=False)
        except RuntimeError as error:
            if any(text in str(error) for text in _OUT_OF_MEMORY):
                raise MemoryError(str(error)) from error
            raise GraphRefusalError(_gist(error)) from error
        return {name: answers[name] for name in outputs}

    def _request(self) -> Any:
        if not hasattr(self._of_thread, "request"):
            self._of_thread.request = self._compiled.create_infer_request()
        return self._of_thread.request


def open_openvino(
    folder: Path,
    converted: ConvertedNetwork,
    *,
    precision: OpenVinoPrecision,
    num_threads: int | None = None,
    num_streams: int = 1,
    cache: Path | None = None,
) -> ConvertedEngine:
    """An engine for a network that was converted to OpenVINO; it runs on the CPU.

    The heads' last layers run in fp32 whatever the precision. What a network quantised to 8 bits
    has in float runs in bf16 where the processor computes in it, else in fp32; the engine's name
    says in which.

    Args:
        folder: holds the converted network's files.
        converted: the network, in the format of OpenVINO.
        precision: fp32 or bf16 for a network stored in fp32, int8 for one quantised to 8 bits.
        num_threads: threads; None takes every core this process may use.
        num_streams: callers that are answered at once, each by its share of the threads.
        cache: folder in which OpenVINO keeps compiled networks, so that they load faster the next
            time; None for no such folder.

    Raises:
        RequestError: a precision that the processor or the network does not have.
        DataError: a file is missing or damaged.
        StorageError: there can be no such cache folder.
    """
    assert converted.format is RuntimeFormat.OPENVINO, converted
    _require_precision(precision, converted.stored_precision)
    options: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": num_streams}
    if num_threads is not None:
        # pinned, the threads of every process that takes a part of the cores take the same cores
        options |= {"INFERENCE_NUM_THREADS": num_threads, "ENABLE_CPU_PINNING": False}
    if cache is not None:
        options["CACHE_DIR"] = str(_made(cache))
    heads, rest = converted.heads_file, _float_precision(precision)
    return ConvertedEngine(
        converted,
        windows=_compiled(folder / converted.windows_file, _HINTS[rest], options),
        heads=None if heads is None else _compiled(folder / heads, _HINTS["fp32"], options),
        name=f"openvino cpu {precision}" + (f", rest {rest}" if precision == "int8" else ""),
    )


def supports_bf16() -> bool:
    """Whether the processor computes in bf16, as OpenVINO sees it."""
    return "BF16" in _core().get_property(_DEVICE, "OPTIMIZATION_CAPABILITIES")


@functools.cache
def _core() -> Any:
    return import_openvino().Core()


def _float_precision(precision: OpenVinoPrecision) -> OpenVinoPrecision:
    """What all runs in that is not in 8 bits."""
    if precision == "int8":
        return "bf16" if supports_bf16() else "fp32"
    return precision


def _require_precision(precision: OpenVinoPrecision, stored: StoredPrecision) -> None:
    if (precision == "int8") != (stored is StoredPrecision.INT8):
        raise RequestError(
            f"--precision {precision}",
            found=f"a network whose weights are stored in {stored}",
            expected="int8 for a network quantised to 8 bits, fp32 or bf16 for one that is not",
            remedy="Choose another precision, or the other form of the model.",
        )
    if precision == "bf16" and not supports_bf16():
        raise RequestError(
            "--precision bf16",
            found="a processor that does not compute in bf16",
            expected="one with AVX-512 BF16 or AMX",
            remedy="Use --precision fp32.",
        )


def _made(cache: Path) -> Path:
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            str(cache),
            found=f"no folder, and none could be made: {error.strerror or error}",
            expected="a folder for compiled networks",
            remedy="Choose another cache folder.",
        ) from error
    return cache


def _compiled(file: Path, hint: str, options: Mapping[str, Any]) -> OpenVinoGraph:
    """A graph ready to run.

    Raises:
        DataError: the file or its weights are missing or damaged.
    """
    try:
        compiled = _core().compile_model(
            file, _DEVICE, {**options, "INFERENCE_PRECISION_HINT": hint}
        )
    except RuntimeError as error:
        raise DataError(
            str(file),
            found=f"a network OpenVINO cannot load: {_gist(error)}",
            expected="the converted network as it was written, with its .bin file beside it",
            remedy="Export or convert the model again.",
        ) from error
    return OpenVinoGraph(compiled)


def _gist(error: Exception) -> str:
    """The last line of what OpenVINO says; those before name places in its own source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
