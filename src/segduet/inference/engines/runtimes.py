"""The runtimes there are: what each needs, where it runs and in which precisions."""

from dataclasses import dataclass
from enum import StrEnum

from segduet.core.runtime import RuntimeFormat
from segduet.inference.engines.machine import DeviceType


class EngineName(StrEnum):
    """Runtimes that can be asked for; `auto` leaves it to segduet."""

    AUTO = "auto"
    TORCH = "torch"
    OPENVINO = "openvino"
    ONNX = "onnx"
    TENSORRT = "tensorrt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """What a runtime needs and offers.

    Attributes:
        packages: must be installed to run it, per device; the device is absent where it does not
            run.
        precisions: what it computes in, per device.
        install: how to get it, as a shell command.
        graph: form of the network it runs; None for the PyTorch weights themselves.
        converters: must be installed to make the graph from PyTorch weights.
    """

    packages: dict[DeviceType, str]
    precisions: dict[DeviceType, tuple[str, ...]]
    install: str
    graph: RuntimeFormat | None = None
    converters: tuple[str, ...] = ()


INSTALL_TORCH = "pip install 'segduet[train]'"
_TO_ONNX = ("torch", "onnx", "onnxscript")

RUNTIMES = {
    EngineName.TORCH: Runtime(
        packages={"cuda": "torch", "cpu": "torch"},
        precisions={"cuda": ("fp32", "bf16", "fp16"), "cpu": ("fp32", "bf16")},
        install=INSTALL_TORCH,
    ),
    EngineName.OPENVINO: Runtime(
        packages={"cpu": "openvino"},
        precisions={"cpu": ("fp32", "bf16", "int8")},
        install="pip install 'segduet[openvino]'",
        graph=RuntimeFormat.OPENVINO,
        converters=("torch",),
    ),
    EngineName.ONNX: Runtime(
        packages={"cuda": "onnxruntime-gpu", "cpu": "onnxruntime"},
        precisions={"cuda": ("fp32",), "cpu": ("fp32",)},
        install="pip install onnxruntime-gpu (onnxruntime without a GPU)",
        graph=RuntimeFormat.ONNX,
        converters=_TO_ONNX,
    ),
    EngineName.TENSORRT: Runtime(
        packages={"cuda": "onnxruntime-gpu"},
        precisions={"cuda": ("fp32", "fp16")},
        install="pip install onnxruntime-gpu tensorrt",
        graph=RuntimeFormat.ONNX,
        converters=_TO_ONNX,
    ),
}
