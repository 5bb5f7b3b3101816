import json
import platform
from importlib import metadata
from pathlib import Path

import pytest

from segduet import __version__
from segduet.core.manifest import RunManifest, installed_versions


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


def test_a_package_that_is_not_installed_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """B12: the core install has no torch, and its manifest says so by silence."""

    def version(name: str) -> str:
        if name == "torch":
            raise metadata.PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(metadata, "version", version)
    assert "torch" not in installed_versions()
    assert installed_versions()["nnunetv2"] == "1.0"
