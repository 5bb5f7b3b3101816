"""What the tests of bad input share: one message, and nothing half-written."""

import contextlib
import hashlib
import re
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK

_PROGRESS = re.compile(r" *\d+% \w+: ")


def _refused(finished: Any, *words: str, code: int = 2) -> str:
    said = [line for line in finished.err.splitlines() if not _PROGRESS.match(line)]
    assert finished.code == code, finished.err
    assert len(said) == 1, finished.err
    message = said[0]
    assert re.fullmatch(r"error: .+: found .+; expected .+\. [A-Z].+\.", message), message
    assert [word for word in words if word not in message] == [], message
    assert finished.out == ""
    return message


@pytest.fixture(scope="session")
def refused() -> Callable[..., str]:
    """Checks that a command ended with one message in four parts that holds all `words`."""
    return _refused


def _contents(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture(scope="session")
def contents() -> Callable[[Path], dict[str, str]]:
    """Every file below a folder with its hash; empty where there is no folder."""
    return _contents


@contextlib.contextmanager
def _full_disk(num_bytes: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture(scope="session")
def full_disk() -> Callable[[int], contextlib.AbstractContextManager[None]]:
    """Lets no file grow beyond so many bytes: the system refuses, so every real writer is met."""
    return _full_disk


def _rewrite(path: Path, change: Callable[[np.ndarray], np.ndarray], **header: Any) -> None:
    image = SimpleITK.ReadImage(str(path))
    written = SimpleITK.GetImageFromArray(change(SimpleITK.GetArrayFromImage(image)))
    written.SetSpacing(header.get("spacing", image.GetSpacing()))
    written.SetOrigin(image.GetOrigin())
    SimpleITK.WriteImage(written, str(path))


@pytest.fixture(scope="session")
def rewrite() -> Callable[..., None]:
    """Changes the voxels of an image file, and its spacing if told: `rewrite(path, change)`."""
    return _rewrite
