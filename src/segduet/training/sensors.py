"""Temperatures of processor and graphics card; what cannot be read is unknown, never 0 (F54)."""

import importlib
import importlib.util
import logging
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segduet.core.errors import RequestError

log = logging.getLogger(__name__)

#: Parts of chip names, as Linux reports them. Disks, batteries and radios are not ours to guard,
#: and ACPI zones (`acpitz`) often report a constant.
_CPU_CHIPS = ("cpu", "core", "k10temp", "zenpower", "pkg_temp", "soc")
_GPU_CHIPS = ("amdgpu", "radeon", "nouveau", "nvidia", "gpu")

#: What a working sensor of a running machine can show, in degrees Celsius.
_PLAUSIBLE = (1.0, 150.0)

#: (chip name, degrees Celsius) of every sensor a source can read; raises what its library raises.
Source = Callable[[], Iterable[tuple[str, float]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Temperatures:
    """The hottest sensor of each kind.

    Attributes:
        cpu_celsius: None where no sensor of the processor can be read.
        gpu_celsius: None where no sensor of a graphics card can be read.
    """

    cpu_celsius: float | None
    gpu_celsius: float | None


class MachineSensors:
    """Reads this machine: the maximum over all sensors of all sources that answer.

    Args:
        sources: name -> where readings come from. A source that fails is left out, and named in
            the log the first time.
    """

    def __init__(self, sources: dict[str, Source]) -> None:
        self._sources = dict(sources)
        self._reported: set[str] = set()

    def __call__(self) -> Temperatures:
        """The temperatures now."""
        readings = [reading for name in self._sources for reading in self._read(name)]
        # a graphics chip first: "gpu" ends in what "cpu" does not, but `nvidia_core` holds "core"
        gpu = [t for chip, t in readings if _is_one_of(chip, _GPU_CHIPS)]
        cpu = [
            t
            for chip, t in readings
            if _is_one_of(chip, _CPU_CHIPS) and not _is_one_of(chip, _GPU_CHIPS)
        ]
        return Temperatures(cpu_celsius=_hottest(cpu), gpu_celsius=_hottest(gpu))

    def _read(self, name: str) -> list[tuple[str, float]]:
        try:
            return list(self._sources[name]())
        except Exception as error:  # drivers raise their own kinds; none may stop a training
            if name not in self._reported:
                self._reported.add(name)
                log.info("temperatures through %s cannot be read: %s", name, error)
            return []


def detect_sensors(sysfs: Path = Path("/sys")) -> MachineSensors:
    """Sensors through psutil, NVML (nvidia-ml-py) and Linux's sysfs, as far as they are there.

    Raises:
        RequestError: none of the three is.
    """
    sources: dict[str, Source] = {}
    if importlib.util.find_spec("psutil"):
        sources["psutil"] = _psutil_readings
    if importlib.util.find_spec("pynvml"):
        sources["NVML"] = _nvml_readings
    if (sysfs / "class" / "hwmon").is_dir() or (sysfs / "class" / "thermal").is_dir():
        sources["sysfs"] = lambda: sysfs_readings(sysfs)
    if not sources:
        raise RequestError(
            "thermal.enabled",
            found="no way to read a temperature: no psutil, no nvidia-ml-py, no sysfs",
            expected="at least one of them",
            remedy="Install `psutil nvidia-ml-py`, or leave the thermal guard off.",
        )
    return MachineSensors(sources)


def sysfs_readings(root: Path) -> Iterable[tuple[str, float]]:
    """Every temperature below `class/hwmon` and `class/thermal`, with its chip's name.

    Args:
        root: where sysfs is mounted, normally `/sys`; files that cannot be read are left out.
    """
    groups = [
        (root / "class" / "hwmon", "hwmon*", "name", "temp*_input"),
        (root / "class" / "thermal", "thermal_zone*", "type", "temp"),
    ]
    for folder, devices, name_file, value_files in groups:
        for device in sorted(folder.glob(devices)):
            for value_file in sorted(device.glob(value_files)):
                try:
                    name = (device / name_file).read_text().strip()
                    yield name, int(value_file.read_text()) / 1000  # millidegrees
                except (OSError, ValueError):
                    continue


def _psutil_readings() -> Iterable[tuple[str, float]]:
    psutil: Any = importlib.import_module("psutil")
    if not hasattr(psutil, "sensors_temperatures"):  # macOS, Windows
        return []
    chips = psutil.sensors_temperatures()
    return [(chip, entry.current) for chip, entries in chips.items() for entry in entries]


def _nvml_readings() -> Iterable[tuple[str, float]]:
    nvml: Any = importlib.import_module("pynvml")
    nvml.nvmlInit()
    try:
        devices = [nvml.nvmlDeviceGetHandleByIndex(i) for i in range(nvml.nvmlDeviceGetCount())]
        kind = nvml.NVML_TEMPERATURE_GPU
        return [("nvidia", float(nvml.nvmlDeviceGetTemperature(d, kind))) for d in devices]
    finally:
        nvml.nvmlShutdown()


def _is_one_of(chip: str, parts: Iterable[str]) -> bool:
    return any(part in chip.lower() for part in parts)


def _hottest(celsius: Iterable[float]) -> float | None:
    low, high = _PLAUSIBLE
    return max((t for t in celsius if math.isfinite(t) and low <= t <= high), default=None)
