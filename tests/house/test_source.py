"""What must not stand in the sources: unsafe readers, and imports that make the start slow."""

import re
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

TORCH_FREE = (
    "core",
    "io",
    "dataset",
    "preparation",
    "windows",
    "metrics",
    "morphometry",
    "evaluation",
    "reporting",
)

#: Calls that run code from a file or write outside a folder (B20): allowed in nnunet/ only.
UNSAFE = re.compile(
    r"pickle\.loads?\b|\bUnpickler\b|torch\.load\b|extractall\b|(?<![\w.])eval\(|(?<![\w.])exec\("
    r"|pydoc\.locate\b|yaml\.(unsafe_|full_)?load\(|allow_pickle\s*=\s*True|shell\s*=\s*True"
)


def unsafe_lines(source: str) -> list[str]:
    """Lines of a source text with an unsafe call."""
    return [line.strip() for line in source.splitlines() if UNSAFE.search(line)]


@pytest.mark.parametrize(
    "line",
    [
        "content = pickle.load(stream)",
        "content = pickle.loads(data)",
        "weights = torch.load(path, weights_only=True)",
        "archive.extractall(folder)",
        "value = eval(text)",
        "kind = pydoc.locate(name)",
        "config = yaml.load(stream, Loader=yaml.Loader)",
        "table = np.load(path, allow_pickle=True)",
    ],
)
def test_an_unsafe_call_is_seen(line: str) -> None:
    assert unsafe_lines(f"    {line}\n") == [line]


@pytest.mark.parametrize(
    "line",
    ["network.eval()", "config = yaml.safe_load(stream)", "loss = torch.loads", "retrieval(x)"],
)
def test_a_harmless_line_is_not_taken_for_an_unsafe_one(line: str) -> None:
    assert unsafe_lines(line) == []


def test_no_source_outside_nnunet_reads_pickles_or_runs_text(repository: Path) -> None:
    """B20: no pickle is read except nnU-Net's own files, through one loader in nnunet/."""
    package = repository / "src" / "segduet"
    outside = [p for p in package.rglob("*.py") if p.relative_to(package).parts[0] != "nnunet"]
    found = {p.name: unsafe_lines(p.read_text(encoding="utf-8")) for p in outside}
    assert {name: lines for name, lines in found.items() if lines} == {}


def modules_loaded_by(code: str) -> set[str]:
    """Top-level packages in sys.modules of a fresh process that ran `code`."""
    report = "import sys; print(' '.join({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return set(done.stdout.splitlines()[-1].split())


def test_importing_the_torch_free_packages_leaves_torch_out(repository: Path) -> None:
    """B12: lazily or not, no module of these packages loads PyTorch or nnunetv2 on import."""
    source = repository / "src"
    names = [
        ".".join(path.relative_to(source).with_suffix("").parts).removesuffix(".__init__")
        for package in TORCH_FREE
        for path in sorted((source / "segduet" / package).rglob("*.py"))
    ]
    assert len(names) >= 2 * len(TORCH_FREE)
    loaded = modules_loaded_by("\n".join(f"import {name}" for name in names))
    assert "segduet" in loaded
    assert loaded.isdisjoint({"torch", "nnunetv2", "torchvision", "timm"})


@pytest.fixture(scope="module")
def help_code(repository: Path) -> str:
    """Python code that does what `segduet --help` does, through the declared entry point."""
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    module, function = project["scripts"]["segduet"].split(":")
    return (
        f"import sys; sys.argv = ['segduet', '--help']\nfrom {module} import {function}\n"
        f"try:\n    {function}()\nexcept SystemExit as end:\n    assert not end.code, end.code"
    )


def test_help_names_the_demo_and_imports_neither_torch_nor_nnunetv2(help_code: str) -> None:
    """F93: `segduet` among the loaded names shows that the report itself works."""
    loaded = modules_loaded_by(help_code)
    assert "segduet" in loaded
    assert loaded.isdisjoint({"torch", "nnunetv2", "torchvision", "timm"})


def test_help_takes_less_than_half_a_second(help_code: str) -> None:
    """F93: best of five, since the machine may be busy with something else."""
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", help_code], capture_output=True, text=True, check=True
        )
        seconds.append(time.perf_counter() - start)
        assert "demo" in done.stdout
    assert min(seconds) < 0.5
