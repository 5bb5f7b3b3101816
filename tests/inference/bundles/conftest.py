"""A small sound bundle, made once."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from tiny_bundles import Forge, write_sound


@pytest.fixture(scope="session")
def sound_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small bundle; not to be changed."""
    folder = tmp_path_factory.mktemp("sound") / "bundle"
    write_sound(folder)
    return folder


@pytest.fixture(scope="session")
def sound_files(sound_folder: Path) -> dict[str, bytes]:
    """The same, as path -> bytes, manifest included."""
    files = [path for path in sorted(sound_folder.rglob("*")) if path.is_file()]
    return {path.relative_to(sound_folder).as_posix(): path.read_bytes() for path in files}


@pytest.fixture(scope="session")
def forge(sound_files: Mapping[str, bytes]) -> Forge:
    """Makes archives that are sound but for one thing."""
    return Forge(sound_files)
