"""The machine and the software a benchmark ran on (F85)."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

_PACKAGES = ("numpy", "torch", "openvino", "onnxruntime", "nnunetv2", "SimpleITK")
#: Variables that change how many threads run, or how they run.
_VARIABLES = (
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "KMP_AFFINITY"),
    *("GLIBC_TUNABLES", "LD_PRELOAD", "CUDA_VISIBLE_DEVICES", "nnUNet_compile"),
)
_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
_NOT_TOLD = "not told by this system"


def environment_stamp() -> dict[str, Any]:
    """Processor, cores, memory, system, versions, governor and commit, as plain types.

    What the system does not tell is said to be so; a package that is not installed is `null`.
    """
    return {
        "cpu": _first_value(Path("/proc/cpuinfo"), "model name"),
        "cores": os.cpu_count(),
        "cores_usable": len(os.sched_getaffinity(0)),
        "memory": _first_value(Path("/proc/meminfo"), "MemTotal"),
        "governor": _text(_GOVERNOR) or _NOT_TOLD,
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in ("segduet", *_PACKAGES)},
        "variables": {name: os.environ[name] for name in _VARIABLES if name in os.environ},
        "commit": _commit(),
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _first_value(source: Path, key: str) -> str:
    for line in _text(source).splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return _NOT_TOLD


def _text(source: Path) -> str:
    try:
        return source.read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _commit() -> str:
    """Commit of the checkout this package runs from, `-dirty` where src/ was changed."""
    folder = Path(__file__).resolve().parent
    try:
        commit = _git(folder, "rev-parse", "--short", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--", str(folder.parent))
    except (OSError, subprocess.CalledProcessError):
        return "no checkout"
    return f"{commit}-dirty" if changed else commit


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    return done.stdout.strip()
