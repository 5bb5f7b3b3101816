import json
import platform
from importlib import metadata
from pathlib import Path

import pytest

from segduet import __version__
from segduet.core.manifest import RunManifest, installed_versions, read_manifest


def test_the_manifest_says_what_was_run_with_which_versions(tmp_path: Path) -> None:
    """B23."""
    manifest = RunManifest(
        command="predict",
        arguments={"out": "here"},
        outcome={"cases": 3, "failed": 1},
        warnings=["case b was left out"],
        started="2026-11-20T10:00:00Z",
        seconds=1.23456,
    )
    manifest.write(tmp_path)
    written = json.loads((tmp_path / "manifest.json").read_text())
    versions = written.pop("versions")
    assert written == {
        "schema_version": 1,
        "command": "predict",
        "arguments": {"out": "here"},
        "outcome": {"cases": 3, "failed": 1},
        "warnings": ["case b was left out"],
        "started": "2026-11-20T10:00:00Z",
        "seconds": 1.235,
    }
    assert versions["segduet"] == __version__
    assert versions["python"] == platform.python_version()
    assert versions["numpy"] == metadata.version("numpy")


def manifest_of(command: str, seed: int) -> RunManifest:
    return RunManifest(command=command, arguments={"seed": seed})


def test_a_manifest_replaces_its_own_commands_only(tmp_path: Path) -> None:
    """B23: the record of how a model was trained survives what is written beside it."""
    manifest_of("train", 1).write(tmp_path)
    manifest_of("calibrate learn", 2).write(tmp_path)
    manifest_of("train", 3).write(tmp_path)
    manifest_of("calibrate learn", 4).write(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {
        "manifest.json",
        "calibrate_learn_manifest.json",
    }
    for command, seed in (("train", 3), ("calibrate learn", 4)):
        found = read_manifest(tmp_path, command)
        assert found is not None
        assert found["arguments"] == {"seed": seed}
    assert read_manifest(tmp_path, "predict") is None


@pytest.mark.parametrize("content", ["{", "[]", '{"made": "by hand"}'])
def test_a_manifest_of_nobody_known_stays(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    manifest_of("gate", 1).write(tmp_path)
    assert (tmp_path / "manifest.json").read_text() == content
    assert json.loads((tmp_path / "gate_manifest.json").read_text())["command"] == "gate"


def test_a_package_that_is_not_installed_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """B12: the core install has no torch, and its manifest says so by silence."""

    def version(name: str) -> str:
        if name == "torch":
            raise metadata.PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(metadata, "version", version)
    assert "torch" not in installed_versions()
    assert installed_versions()["nnunetv2"] == "1.0"
