"""Studies without a dataset worth the name, and units that a small program carries out.

Tests import this file by its name (pyproject).
"""

import json
import sys
from pathlib import Path
from typing import Any

import yaml

from segduet.scale.local_runner import LocalRunner
from segduet.scale.state import StudyState
from segduet.scale.unit import WorkUnit
from tiny_plans import tiny_configuration

DATASET = "Dataset501_tiny"
PLANS = "segduetSmallPlans"

#: Carries out the words of a unit's command, one after the other, and adds each to `calls.txt`.
_PROGRAM = """
import os, subprocess, sys, time
from pathlib import Path
words = sys.argv[1:]
with open("calls.txt", "a") as calls:
    calls.write(" ".join(words) + "\\n")
while words:
    what, *words = words
    if what == "write":
        Path(words.pop(0)).write_text("done")
    elif what == "sleep":
        time.sleep(float(words.pop(0)))
    elif what == "fail":
        print("error: " + words.pop(0)); sys.exit(2)
    elif what == "crash-unless":
        Path(words.pop(0)).exists() or sys.exit(7)
    elif what == "child":
        child = subprocess.Popen([sys.executable, "-I", "-S", "-c", "import time; time.sleep(60)"])
        Path(words.pop(0)).write_text(f"{os.getpid()} {child.pid}")
    elif what == "threads":
        Path(words.pop(0)).write_text(os.environ["OMP_NUM_THREADS"])
    elif what == "gpus":
        Path(words.pop(0)).write_text(os.environ["CUDA_VISIBLE_DEVICES"])
"""


def write_planned_dataset(folder: Path, *, num_folds: int = 3) -> Path:
    """What expansion reads of a planned and preprocessed dataset; returns the data root."""
    preprocessed = folder / "nnUNet_preprocessed" / DATASET
    (preprocessed / "test").mkdir(parents=True)
    configuration = tiny_configuration((16, 16)).model_dump(mode="json")
    plan = {
        "dataset_name": DATASET,
        "plans_name": PLANS,
        "configurations": {"2d": configuration, "3d_fullres": configuration},
    }
    folds = [{"train": ["a"], "val": ["b"]}] * num_folds
    for name, content in ((PLANS, plan), ("splits_final", folds), ("dataset", {})):
        (preprocessed / f"{name}.json").write_text(json.dumps(content))
    (preprocessed / "cases.csv").write_text("case\n")
    return folder


def write_study(folder: Path, **settings: Any) -> Path:
    """A study file beside its planned dataset: one recipe, fold 0, unless told otherwise."""
    if not (folder / "segduet-data").exists():
        write_planned_dataset(folder / "segduet-data")
    content = {"name": "tiny", "dataset": "tiny", "configurations": ["2d"], "folds": [0]}
    file = folder / "STUDY.yaml"
    file.write_text(yaml.safe_dump({**content, **settings}, sort_keys=False))
    return file


def little_unit(folder: Path, name: str, *words: object, **more: Any) -> WorkUnit:
    """A unit that carries out `words` and then writes its output, a file called like itself."""
    output = folder / f"{name}.out"
    command = (*(str(word) for word in words), "write", str(output))
    return WorkUnit(name=name, command=command, outputs=(output,), **more)


def little_runner(folder: Path, *units: WorkUnit, **more: Any) -> LocalRunner:
    """Runs little units in `folder`, in place of segduet's own commands."""
    program = folder / "program.py"
    program.write_text(_PROGRAM)
    return LocalRunner(
        units=units,
        state=StudyState(folder=folder / "state", work_folder=folder),
        launcher=(sys.executable, "-I", "-S", str(program)),
        **more,
    )


def calls(folder: Path) -> list[str]:
    """The commands of the little units that were started so far."""
    file = folder / "calls.txt"
    return file.read_text().splitlines() if file.exists() else []
