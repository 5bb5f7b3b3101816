"""What a command did, written beside its output (B23)."""

import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from segduet.core.errors import DataError
from segduet.core.files import read_json, write_json
from segduet.core.version import __version__

SCHEMA_VERSION = 1
MANIFEST_FILE = "manifest.json"
_REPORTED_PACKAGES = ("numpy", "scipy", "scikit-learn", "SimpleITK", "torch", "nnunetv2")


def utc(seconds: float) -> str:
    """A time from `time.time()` as ISO 8601 in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def installed_versions() -> dict[str, str]:
    """Versions of segduet, Python and the packages that numbers depend on; absent ones left out."""
    versions = {"segduet": __version__, "python": platform.python_version()}
    for package in _REPORTED_PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


@dataclass(frozen=True, slots=True, kw_only=True)
class RunManifest:
    """Record of one command.

    Attributes:
        command: the verb, such as `predict`.
        arguments: its arguments, as plain types.
        outcome: counts and figures worth knowing without opening other files.
        warnings: everything that was changed or left out on the way, one sentence each.
        started: ISO 8601 time, UTC.
        seconds: wall time.
    """

    command: str
    arguments: Mapping[str, Any]
    outcome: Mapping[str, Any] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    started: str = ""
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain types, with the schema version and the installed versions."""
        return {
            "schema_version": SCHEMA_VERSION,
            "command": self.command,
            "arguments": dict(self.arguments),
            "outcome": dict(self.outcome),
            "warnings": list(self.warnings),
            "started": self.started,
            "seconds": round(self.seconds, 3),
            "versions": installed_versions(),
        }

    def write(self, folder: Path, name: str = MANIFEST_FILE) -> None:
        """Writes the manifest into the folder, atomically, over an earlier one of this command.

        One of another command tells how what lies there was made: it stays, and this one is called
        `<command>_<name>`.
        """
        target = Path(folder) / name
        try:
            is_taken = target.is_file() and _command(target) != self.command
        except DataError:  # damaged, so that nobody knows whose it is
            is_taken = True
        write_json(_beside(target, self.command) if is_taken else target, self.to_json())


def read_manifest(folder: Path, command: str) -> dict[str, Any] | None:
    """The manifest of a command in a folder; None where it left none.

    Args:
        folder: where the command wrote to.
        command: the verb.

    Raises:
        DataError: a file that is not JSON.
    """
    usual = Path(folder) / MANIFEST_FILE
    for source in (usual, _beside(usual, command)):
        if source.is_file() and _command(source) == command:
            found: dict[str, Any] = read_json(source)
            return found
    return None


def _beside(manifest: Path, command: str) -> Path:
    return manifest.with_name(f"{command.replace(' ', '_')}_{manifest.name}")


def _command(manifest: Path) -> Any:
    content = read_json(manifest)
    return content.get("command") if isinstance(content, dict) else None
