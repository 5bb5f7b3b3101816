"""F85: the stamp names the machine and the software, and says where it does not know."""

import os
import platform
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from segduet.workflows import bench_environment
from segduet.workflows.bench_environment import environment_stamp


def test_the_stamp_is_that_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    stamp = environment_stamp()
    assert stamp["cores_usable"] == len(os.sched_getaffinity(0))
    assert stamp["python"] == platform.python_version()
    assert stamp["packages"]["numpy"] == np.__version__
    assert stamp["variables"]["OMP_NUM_THREADS"] == "3"
    if Path("/proc/meminfo").exists():
        assert stamp["memory"].endswith("kB")


def test_what_is_not_known_is_said_to_be_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No governor, no package of that name, and no git."""

    def no_git(*_arguments: object, **_options: object) -> None:
        raise FileNotFoundError("git")

    def not_installed(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(bench_environment, "_GOVERNOR", tmp_path / "absent")
    monkeypatch.setattr(bench_environment.subprocess, "run", no_git)
    monkeypatch.setattr(bench_environment.metadata, "version", not_installed)
    stamp = environment_stamp()
    assert stamp["governor"] == "not told by this system"
    assert stamp["commit"] == "no checkout"
    assert set(stamp["packages"].values()) == {None}
