"""Submissions whose units are only names, and a program in segduet's place that notes its calls."""

import subprocess
import sys
from pathlib import Path

from segduet.scale.submission import Submission
from segduet.scale.unit import Resources, WorkUnit

#: Appends its arguments to a file, and ends with the code of the file called like its unit.
_PROGRAM = """
import sys
from pathlib import Path
folder = Path(sys.argv[0]).parent
with (folder / "calls.txt").open("a") as calls:
    calls.write("|".join(sys.argv[1:]) + "\\n")
code = folder / f"{sys.argv[-1]}.code"
sys.exit(int(code.read_text()) if code.exists() else 0)
"""


def tiny_units(folder: Path) -> tuple[WorkUnit, ...]:
    """Two trainings on a GPU, what needs both, and what needs that."""

    def unit(name: str, *needs: str, **more: object) -> WorkUnit:
        return WorkUnit(name=name, command=("info",), needs=needs, outputs=(folder / name,), **more)

    return (
        unit("train-f0", resources=Resources(cpus=1.5, gpus=1, memory_gb=7.5, hours=1.5)),
        unit("train-f1", resources=Resources(cpus=1.5, gpus=1, memory_gb=7.5, hours=1.5)),
        unit("predict", "train-f0", "train-f1", resources=Resources(cpus=4, memory_gb=8)),
        unit("evaluate", "predict"),
    )


def tiny_submission(folder: Path, **changes: object) -> Submission:
    """The units of `tiny_units`, run by a program that notes its calls in `folder/calls.txt`."""
    program = folder / "noting.py"
    program.write_text(_PROGRAM)
    content = {
        "name": "tiny",
        "study": folder / "STUDY.yaml",
        "units": tiny_units(folder),
        "program": (sys.executable, str(program)),
    }
    return Submission(**{**content, **changes})


def calls_noted(folder: Path) -> list[list[str]]:
    """The arguments of every call so far."""
    noted = folder / "calls.txt"
    lines = noted.read_text().splitlines() if noted.exists() else []
    return [line.split("|") for line in lines]


def run_words(words: list[str]) -> str:
    """Runs a rendered command here; returns its last word, the unit."""
    subprocess.run(words, check=True, timeout=20)
    return words[-1]
