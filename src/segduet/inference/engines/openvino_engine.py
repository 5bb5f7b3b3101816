"""A converted network run by OpenVINO on the CPU; needs no PyTorch."""

import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn

import numpy as np
import openvino

from segduet.core.errors import DataError, RequestError, StorageError
from segduet.core.runtime import (
    ConvertedNetwork,
    RuntimeFormat,
    StoredPrecision,
    heads_outputs,
    window_outputs,
)
from segduet.inference.engine import HeadAnswers, WindowAnswers

OpenVinoPrecision = Literal["fp32", "bf16", "int8"]

_DEVICE = "CPU"
# Left to itself OpenVINO computes in bf16 where it can. A graph quantised to 8 bits compiles with
# f32 only, which is what its other layers then use.
_HINTS: dict[OpenVinoPrecision, str] = {"fp32": "f32", "int8": "f32", "bf16": "bf16"}
_OUT_OF_MEMORY = ("bad_alloc", "bad allocation", "allocate", "out of memory")


class OpenVinoEngine:
    """Runs the two graphs of a network that was converted to OpenVINO.

    The heads' last layers run in fp32 whatever the precision.

    Args:
        folder: holds the converted network's files.
        converted: the network, in the format of OpenVINO.
        precision: fp32 or bf16 for a network stored in fp32, int8 for one quantised to 8 bits.
        num_threads: threads; None takes every core this process may use.
        cache: folder in which OpenVINO keeps compiled networks, so that they load faster the next
            time; None for no such folder.

    Raises:
        RequestError: a precision that the processor or the network does not have.
        DataError: a file is missing or damaged.
        StorageError: there can be no such cache folder.
    """

    def __init__(
        self,
        folder: Path,
        converted: ConvertedNetwork,
        *,
        precision: OpenVinoPrecision,
        num_threads: int | None = None,
        cache: Path | None = None,
    ) -> None:
        assert converted.format is RuntimeFormat.OPENVINO, converted
        _require_precision(precision, converted.stored_precision)
        self._converted = converted
        self._precision = precision
        options: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
        if num_threads is not None:
            options["INFERENCE_NUM_THREADS"] = num_threads
        if cache is not None:
            options["CACHE_DIR"] = str(_made(cache))
        self._windows: Any = _compiled(folder / converted.windows_file, _HINTS[precision], options)
        self._heads: Any = None
        if converted.heads_file is not None:
            self._heads = _compiled(folder / converted.heads_file, _HINTS["fp32"], options)

    @property
    def name(self) -> str:
        """Runtime, device and precision, for manifests and messages."""
        return f"openvino cpu {self._precision}"

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
        tasks = [task.name for task in self._converted.tasks]
        names = window_outputs(len(tasks), with_masks=self._converted.with_masks)
        inputs = [self._planar(windows), self._planar(shares)]
        outputs = self._run(self._windows, inputs, names, what=f"windows {windows.shape}")
        per_task = outputs[-2 * len(tasks) :] if tasks else []
        return WindowAnswers(
            logits=self._logits(outputs, windows.shape),
            sums=dict(zip(tasks, per_task[::2], strict=True)),
            evidence=dict(zip(tasks, per_task[1::2], strict=True)),
        )

    def answer(self, sums: Mapping[str, np.ndarray]) -> HeadAnswers:
        """Answers of all tasks from sums (N, S), in float32 whatever the precision."""
        tasks = [task.name for task in self._converted.tasks]
        if not tasks:
            return HeadAnswers(logits={}, features={})
        assert self._heads is not None, "the engine is closed"
        inputs = [np.ascontiguousarray(sums[task], dtype=np.float32) for task in tasks]
        names = heads_outputs(len(tasks))
        outputs = self._run(self._heads, inputs, names, what="sums of windows")
        return HeadAnswers(
            logits=dict(zip(tasks, outputs[::2], strict=True)),
            features=dict(zip(tasks, outputs[1::2], strict=True)),
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
        """Lets go of the networks, their memory and their threads."""
        self._windows = self._heads = None

    def _planar(self, windows: np.ndarray) -> np.ndarray:
        """(B, C, Z, Y, X), or (B, C, Y, X) for a 2D network."""
        return windows[:, :, 0] if self.num_spatial_dims == 2 else windows

    def _logits(self, outputs: Sequence[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
        batch, _, *spatial = shape
        if not self._converted.with_masks:
            return np.zeros((batch, 0, *spatial), dtype=np.float32)
        return outputs[0].reshape(batch, -1, *spatial)

    def _run(
        self, network: Any, inputs: list[np.ndarray], names: list[str], *, what: str
    ) -> list[np.ndarray]:
        """Outputs in the order of the names, in memory of their own."""
        with self._told_plainly(what):
            answers = network(inputs, share_inputs=True, share_outputs=False)
            return [answers[name] for name in names]

    @contextlib.contextmanager
    def _told_plainly(self, what: str) -> Iterator[None]:
        where = f"engine {self.name}"
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            if isinstance(error, MemoryError) or any(t in str(error) for t in _OUT_OF_MEMORY):
                raise RequestError(
                    where,
                    found=f"not enough memory for {what}",
                    expected="memory for one batch of windows and the network's activations",
                    remedy="Use a smaller tile batch, or bf16 or int8 instead of fp32.",
                ) from error
            raise RequestError(
                where,
                found=f"{what}, which OpenVINO refused: {_gist(error)}",
                expected="the network's channels, and sizes that are multiples of its total stride",
                remedy="Check the image against the model; --engine torch runs every network.",
            ) from error


def supports_bf16() -> bool:
    """Whether the processor computes in bf16, as OpenVINO sees it."""
    return "BF16" in _core().get_property(_DEVICE, "OPTIMIZATION_CAPABILITIES")


@functools.cache
def _core() -> Any:
    return openvino.Core()


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


def _compiled(file: Path, hint: str, options: Mapping[str, Any]) -> Any:
    """A graph ready to run.

    Raises:
        DataError: the file or its weights are missing or damaged.
    """
    try:
        return _core().compile_model(file, _DEVICE, {**options, "INFERENCE_PRECISION_HINT": hint})
    except RuntimeError as error:
        raise DataError(
            str(file),
            found=f"a network OpenVINO cannot load: {_gist(error)}",
            expected="the converted network as it was written, with its .bin file beside it",
            remedy="Export or convert the model again.",
        ) from error


def _gist(error: Exception) -> str:
    """The last line of what OpenVINO says; those before name places in its own source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
