"""Shared by all tests: the repository, the real data where they are, and a steady Hypothesis."""

import contextlib
import io
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
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
    return write_table_folder(tmp_path / "table")


def write_table_folder(folder: Path) -> Path:
    """Writes what `table_folder` promises."""
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
            written = SimpleITK.GetImageFromArray(array)
            written.SetSpacing((1.0, 1.0, 2.0))
            written.SetOrigin((3.0, -5.0, 7.5))
            SimpleITK.WriteImage(written, str(folder / kind / f"c{index}.nii.gz"))
        kind = "bright" if index % 2 else "dark"
        rows.append(f"c{index},{kind},p{index},{'train' if index < 6 else 'val'}")
    (folder / "cases.csv").write_text("\n".join(rows) + "\n")
    return folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """What a command left behind."""

    code: int
    out: str
    err: str

    def json(self) -> dict[str, Any]:
        """Standard output, which must be one JSON value and nothing else."""
        return json.loads(self.out)


def run_segduet(*arguments: object) -> Finished:
    """Runs one command in this process, such as `run_segduet("check", "tiny")`.

    An error that `main` does not turn into a message and an exit code goes through to the test.
    """
    from segduet.cli.main import main

    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as ending,
    ):
        main([str(a) for a in arguments])
    return Finished(code=int(ending.value.code or 0), out=out.getvalue(), err=err.getvalue())


@pytest.fixture(scope="session")
def segduet() -> Callable[..., Finished]:
    """The `segduet` command: `segduet("check", "tiny", "--data-root", folder)`."""
    return run_segduet


@dataclass(frozen=True, slots=True, kw_only=True)
class Road:
    """One folder with everything from a user's images to the report.

    Attributes:
        folder: holds `table`, `data`, `predictions`, `evaluation`, `report.html`.
        finished: command -> how it ended; each was run once with `--json`.
    """

    folder: Path
    finished: Mapping[str, Finished]

    data = property(lambda self: self.folder / "data")
    raw = property(lambda self: self.data / "nnUNet_raw" / "Dataset501_tiny")
    preprocessed = property(lambda self: self.data / "nnUNet_preprocessed" / "Dataset501_tiny")
    model = property(
        lambda self: (
            self.data
            / "nnUNet_results"
            / "Dataset501_tiny"
            / "segduet_default__segduetSmallPlans__3d_fullres"
        )
    )
    run = property(lambda self: self.model / "fold_0")
    predictions = property(lambda self: self.folder / "predictions")
    evaluation = property(lambda self: self.folder / "evaluation")
    page = property(lambda self: self.folder / "report.html")

    def copy(self, target: Path) -> "Road":
        """The same in another folder, for a test that changes something."""
        shutil.copytree(self.folder, target)
        return Road(folder=target, finished=self.finished)


#: Settings of a training that is over in a second.
TINY_TRAINING = (
    *("--set", "steps_per_epoch=3", "--set", "head.hidden=[8]", "--epochs", "2"),
    *("--set", "validation.patches_per_epoch=2"),
    *("--device", "cpu", "--precision", "fp32", "--workers", "0"),
)


@pytest.fixture(scope="session")
def tiny_training() -> tuple[str, ...]:
    """Arguments of `segduet train` that make it short."""
    return TINY_TRAINING


@pytest.fixture(scope="session")
def road(tmp_path_factory: pytest.TempPathFactory) -> Road:
    """The whole road on `table_folder`'s cases; not to be changed (take a copy)."""
    made = Road(folder=tmp_path_factory.mktemp("road"), finished={})
    write_table_folder(made.folder / "table")
    alone = ("--workers", 1)
    finished = {}
    for command, *arguments in (
        ("import", "table", made.folder / "table", "--name", "tiny", *alone),
        ("check", "tiny", *alone),
        ("plan", "tiny", "--planner", "small", "--hold-out-validation", *alone),
        ("preprocess", "tiny", "-c", "3d_fullres", *alone),
        ("train", "tiny", *TINY_TRAINING),
        ("predict", made.model, made.raw / "imagesTr", "--out", made.predictions, "--no-tta"),
        (
            *("evaluate", "--reference", "tiny", "--predictions", made.predictions),
            *("--fold", 0, "--out", made.evaluation, *alone),
        ),
        ("report", made.run, made.evaluation, "--out", made.page),
    ):
        root = () if command == "predict" else ("--data-root", made.data)
        finished[command] = run_segduet(command, *arguments, *root, "--json")
        assert finished[command].code == 0, (command, finished[command].err)
    return Road(folder=made.folder, finished=finished)
