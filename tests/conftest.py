"""Shared by all tests: the repository, the real data where they are, and a steady Hypothesis."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
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


@pytest.fixture
def table_folder(tmp_path: Path) -> Path:
    """A user's folder in the layout `table`: eight tiny volumes with a blob, bright or dark.

    Cases c0-c5 are split `train`, c6 and c7 `val`; even ones are `dark`, odd ones `bright`; one
    patient each, the blob is label 1.
    """
    folder = tmp_path / "table"
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    rows = ["case,class,patient,split"]
    for index in range(8):
        rng = np.random.default_rng(index)
        mask = np.zeros((8, 20, 20), dtype=np.uint8)
        z, y, x = 2, int(rng.integers(2, 11)), int(rng.integers(2, 11))
        mask[z : z + 4, y : y + 7, x : x + 7] = 1
        image = rng.normal(100, 10, mask.shape) + mask * (90 if index % 2 else 45)
        for kind, array in (("images", image.astype(np.int16)), ("masks", mask)):
            written = sitk.GetImageFromArray(array)
            written.SetSpacing((1.0, 1.0, 2.0))
            written.SetOrigin((3.0, -5.0, 7.5))
            sitk.WriteImage(written, str(folder / kind / f"c{index}.nii.gz"))
        kind = "bright" if index % 2 else "dark"
        rows.append(f"c{index},{kind},p{index},{'train' if index < 6 else 'val'}")
    (folder / "cases.csv").write_text("\n".join(rows) + "\n")
    return folder
