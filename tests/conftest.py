"""Shared by all tests: the repository, the real data where they are, and a steady Hypothesis."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

REPOSITORY = Path(__file__).resolve().parents[1]

# The same examples on every run and machine: a red CI is a change of ours, never luck.
settings.register_profile("steady", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("steady")


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """Finds a folder of real data by name, or skips the test with a message."""
    fallback = REPOSITORY.parent / "shared" / "data"
    root = Path(os.environ.get("SEGDUET_SHARED_DATA") or fallback)

    def find(name: str) -> Path:
        if not (root / name).is_dir():
            pytest.skip(f"real data {name!r} are not at {root} (set SEGDUET_SHARED_DATA)")
        return root / name

    return find
