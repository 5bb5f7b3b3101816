"""What is installed and built in, as far as the choice of a runtime depends on it.

Nothing is imported to find out: looking must not cost what the choice may spare.
"""

import importlib.metadata
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

DeviceType = Literal["cpu", "cuda"]

_MODULES = ("torch", "openvino", "onnxruntime", "onnx", "onnxscript")
_ONNX_GPU = "onnxruntime-gpu"  # the same module as onnxruntime, in a package of its own


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What is installed and built in.

    Attributes:
        packages: installed packages, by the name pip knows them by.
        has_cuda: whether an NVIDIA GPU can be used.
        bf16_on: devices whose processor computes in bf16.
    """

    packages: frozenset[str]
    has_cuda: bool = False
    bf16_on: frozenset[DeviceType] = frozenset()


def this_machine(*, has_cuda: bool, cuda_has_bf16: bool = False) -> Machine:
    """The machine this runs on.

    Args:
        has_cuda: whether an NVIDIA GPU can be used; only a runtime can tell, and `may_have_gpu`
            says where asking one is no use.
        cuda_has_bf16: whether that GPU computes in bf16.
    """
    processors: dict[DeviceType, bool] = {"cpu": cpu_has_bf16(), "cuda": cuda_has_bf16}
    return Machine(
        packages=installed_packages(),
        has_cuda=has_cuda,
        bf16_on=frozenset(device for device, has_bf16 in processors.items() if has_bf16),
    )


def installed_packages() -> frozenset[str]:
    """Which of the packages that a runtime needs are installed."""
    found = {name for name in _MODULES if importlib.util.find_spec(name) is not None}
    try:
        importlib.metadata.version(_ONNX_GPU)
    except importlib.metadata.PackageNotFoundError:
        return frozenset(found)
    return frozenset({*found, _ONNX_GPU})


def may_have_gpu(devices: Path = Path("/dev")) -> bool:
    """Whether an NVIDIA driver is loaded (on Linux, also inside Windows)."""
    return any((devices / name).exists() for name in ("nvidiactl", "dxg"))


def cpu_has_bf16(facts: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the CPU multiplies bf16 numbers; False where the system does not tell."""
    try:
        flags = facts.read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        return False
    return not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(flags)
