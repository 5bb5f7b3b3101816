"""Every gate of `make check` and of pytest fails on a violation (style.md, "Habits")."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent

#: One violation for each rule family that pyproject.toml selects.
VIOLATIONS = {
    "E": ("E711", "found = input() == None\n"),
    "F": ("F401", "import os\n"),
    "W": ("W605", 'pattern = "\\d"\n'),
    "I": ("I001", "import sys\nimport os\n"),
    "N": ("N802", "def ReadCase(): ...\n"),
    "UP": ("UP006", "from typing import List\ncases: List[str] = []\n"),
    "B": ("B006", "def add(cases=[]): ...\n"),
    "A": ("A001", "list = 1\n"),
    "C4": ("C400", "cases = list(c for c in range(3))\n"),
    "C90": ("C901", "def f(x):\n" + "".join(f"    if x == {i}: x += 1\n" for i in range(9))),
    "D": ("D103", "def visible() -> None:\n    return None\n"),
    "PT": ("PT018", "assert len(name) and len(other)\n"),
    "RET": ("RET505", "def f(x):\n    if x:\n        return 1\n    else:\n        return 2\n"),
    "SIM": ("SIM118", "found = key in table.keys()\n"),
    "RUF": ("RUF005", "cases = [1] + others\n"),
    "TID": ("TID252", "from . import neighbour\n"),
    "ARG": ("ARG001", "def _f(unused: int) -> int:\n    return 1\n"),
    "PERF": ("PERF401", "r = []\nfor c in cases:\n    r.append(c.name)\n"),
    "NPY": ("NPY002", "import numpy as np\n\nnp.random.seed(0)\n"),
    "S": ("S301", "import pickle\n\ncontent = pickle.loads(data)\n"),
    "PL": ("PLR1714", "found = a == 'x' or a == 'y'\n"),
    "T20": ("T201", "print('hello')\n"),
    "ANN": ("ANN201", "def visible():\n    return 1\n"),
}


def run(
    *command: str | Path, cwd: Path, stdin: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    """Runs a tool as `make check` does; the exit status is the caller's to judge."""
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        input=stdin,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def ruff(repository: Path, verb: str, source: str, *options: str):
    name = repository / "src" / "segduet" / "sample.py"
    return run(
        BIN / "ruff", verb, *options, "--no-cache", "--stdin-filename", name, "-",
        cwd=repository, stdin=source,
    )  # fmt: skip


def test_every_selected_rule_family_has_a_violation_here(repository: Path) -> None:
    settings = tomllib.loads((repository / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
    assert set(settings["select"]) == set(VIOLATIONS)


@pytest.mark.parametrize("family", VIOLATIONS)
def test_ruff_refuses_a_violation_of_each_rule_family(repository: Path, family: str) -> None:
    code, source = VIOLATIONS[family]
    done = ruff(repository, "check", source, "--output-format", "concise")
    assert done.returncode == 1, done.stderr
    assert f" {code} " in done.stdout


CLEAN = '"""A clean module."""\n\n\ndef double(number: int) -> int:\n    """Twice the number."""\n'


def test_ruff_accepts_a_clean_file(repository: Path) -> None:
    done = ruff(repository, "check", CLEAN + "    return 2 * number\n")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("body", "status"), [("    return 2 * number\n", 0), ("    return 2*number\n", 1)]
)
def test_the_format_gate_tells_formatted_from_unformatted(
    repository: Path, body: str, status: int
) -> None:
    assert ruff(repository, "format", CLEAN + body, "--check").returncode == status


def test_mypy_refuses_an_untyped_function_and_an_implicit_any(
    repository: Path, tmp_path: Path
) -> None:
    source = tmp_path / "sample.py"
    source.write_text("def double(number):\n    return 2 * number\n\n\ncases: list = []\n")
    done = run(
        BIN / "mypy", "--config-file", repository / "pyproject.toml",
        "--cache-dir", tmp_path / "cache", source,
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    assert "[no-untyped-def]" in done.stdout
    assert "[type-arg]" in done.stdout


WARNS = "import warnings\n\n\ndef test_it():\n    warnings.warn('old', DeprecationWarning)\n"
UNKNOWN_MARKER = "import pytest\n\n\n@pytest.mark.slwo\ndef test_it():\n    pass\n"
PASSES_XFAIL = "import pytest\n\n\n@pytest.mark.xfail\ndef test_it():\n    pass\n"


@pytest.mark.parametrize(
    ("source", "status", "message"),
    [
        ("def test_it():\n    pass\n", 0, "1 passed"),
        (WARNS, 1, "DeprecationWarning: old"),
        (UNKNOWN_MARKER, 2, "'slwo' not found in `markers`"),
        (PASSES_XFAIL, 1, "[XPASS(strict)]"),
    ],
)
def test_pytest_refuses_warnings_unknown_markers_and_unexpected_passes(
    repository: Path, tmp_path: Path, source: str, status: int, message: str
) -> None:
    (tmp_path / "test_sample.py").write_text(source)
    done = run(
        sys.executable, "-m", "pytest", "-c", repository / "pyproject.toml",
        "--rootdir", tmp_path, "-p", "no:cacheprovider", "-p", "no:xdist", "test_sample.py",
        cwd=tmp_path,
    )  # fmt: skip
    assert (done.returncode, message in done.stdout) == (status, True), done.stdout
