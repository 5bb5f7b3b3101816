"""F54: NVML, psutil and sysfs back-ends; max over sensors; unreadable is unknown."""

import logging
import sys
from types import ModuleType, SimpleNamespace

import pytest

from segduet.core.errors import RequestError
from segduet.training.sensors import MachineSensors, Temperatures, detect_sensors, sysfs_readings


def _write(folder, **files):
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text)


@pytest.fixture
def sysfs(tmp_path):
    """A processor at 61.5, its package at 64, a disk at 80, an AMD card at 70 degrees."""
    hwmon, zones = tmp_path / "class" / "hwmon", tmp_path / "class" / "thermal"
    _write(hwmon / "hwmon0", name="coretemp\n", temp1_input="61500\n", temp2_input="nonsense\n")
    _write(hwmon / "hwmon1", name="nvme\n", temp1_input="80000\n")
    _write(hwmon / "hwmon2", name="amdgpu\n", temp1_input="70000\n")
    _write(zones / "thermal_zone0", type="x86_pkg_temp\n", temp="64000\n")
    return tmp_path


def test_sysfs_gives_every_readable_sensor_with_its_chip(sysfs):
    assert list(sysfs_readings(sysfs)) == [
        ("coretemp", 61.5),
        ("nvme", 80.0),
        ("amdgpu", 70.0),
        ("x86_pkg_temp", 64.0),
    ]


def test_the_hottest_sensor_of_each_kind_counts_and_a_disk_does_not(sysfs):
    sensors = MachineSensors(
        {"a": lambda: sysfs_readings(sysfs), "b": lambda: [("k10temp", 66.0), ("nvidia", 71.0)]}
    )
    assert sensors() == Temperatures(cpu_celsius=66.0, gpu_celsius=71.0)


@pytest.mark.parametrize("value", [0.0, -273.0, float("nan"), 255.0])
def test_impossible_readings_are_unknown(value):
    sensors = MachineSensors({"a": lambda: [("coretemp", value), ("nvidia", value)]})
    assert sensors() == Temperatures(cpu_celsius=None, gpu_celsius=None)


def test_a_source_that_fails_is_named_once_and_the_others_count(caplog):
    def broken():
        raise RuntimeError("driver gone")

    sensors = MachineSensors({"NVML": broken, "psutil": lambda: [("coretemp", 50.0)]})
    with caplog.at_level(logging.INFO):
        assert [sensors().cpu_celsius for _ in range(3)] == [50.0, 50.0, 50.0]
    assert [r.getMessage() for r in caplog.records] == [
        "temperatures through NVML cannot be read: driver gone"
    ]


def test_psutil_and_nvml_are_read(monkeypatch, tmp_path):
    psutil, nvml = ModuleType("psutil"), ModuleType("pynvml")
    entries = [SimpleNamespace(current=58.0), SimpleNamespace(current=62.0)]
    psutil.sensors_temperatures = lambda: {"coretemp": entries, "acpitz": [entries[0]]}
    calls = []
    nvml.NVML_TEMPERATURE_GPU = 0
    nvml.nvmlInit = lambda: calls.append("init")
    nvml.nvmlShutdown = lambda: calls.append("shutdown")
    nvml.nvmlDeviceGetCount = lambda: 2
    nvml.nvmlDeviceGetHandleByIndex = lambda index: index
    nvml.nvmlDeviceGetTemperature = lambda device, kind: [66, 73][device]
    for name, module in (("psutil", psutil), ("pynvml", nvml)):
        module.__spec__ = SimpleNamespace(name=name)
        monkeypatch.setitem(sys.modules, name, module)
    assert detect_sensors(tmp_path)() == Temperatures(cpu_celsius=62.0, gpu_celsius=73.0)
    assert calls == ["init", "shutdown"]


def test_without_any_back_end_the_guard_cannot_be_had(monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(RequestError, match=r"no psutil.*Install `psutil nvidia-ml-py`"):
        detect_sensors(tmp_path)


def test_sysfs_alone_is_enough(monkeypatch, sysfs):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    assert detect_sensors(sysfs)() == Temperatures(cpu_celsius=64.0, gpu_celsius=70.0)
