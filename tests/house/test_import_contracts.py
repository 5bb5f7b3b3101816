"""The import contracts of pyproject.toml bite, on a toy package of the same shape."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

LINT_IMPORTS = Path(sys.executable).parent / "lint-imports"
LAYERS, TORCH, RUNTIME, NNUNET, VISION = (
    "Imports point downwards only",
    "The core install runs without PyTorch",
    "Prediction needs PyTorch only where its engine is asked for",
    "nnunetv2 lives in segduet.nnunet, and in the trainer that stock nnU-Net finds",
    "torchvision and timm nowhere",
)


def required_packages(configuration: Path) -> list[str]:
    """Packages named in the layers contract without parentheses."""
    contracts = tomllib.loads(configuration.read_text())["tool"]["importlinter"]["contracts"]
    layers = next(c for c in contracts if c["id"] == "layers")["layers"]
    names = [name.strip() for layer in layers for name in layer.split("|")]
    return [name for name in names if not name.startswith("(")]


@pytest.fixture
def toy(repository: Path, tmp_path: Path) -> Path:
    """An empty package `segduet` with every package of ours, and our own contracts."""
    configuration = repository / "pyproject.toml"
    (tmp_path / "pyproject.toml").write_text(configuration.read_text())
    for name in ["", *required_packages(configuration)]:
        folder = tmp_path / "segduet" / name
        folder.mkdir(exist_ok=True)
        (folder / "__init__.py").touch()
    return tmp_path


def broken_contracts(toy: Path) -> set[str]:
    """Names of the contracts that lint-imports finds broken in the toy package."""
    done = subprocess.run(
        [LINT_IMPORTS, "--no-cache"],
        cwd=toy,
        env={**os.environ, "PYTHONPATH": str(toy), "NO_COLOR": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    verdicts = re.findall(r"^(.+) (KEPT|BROKEN)( \(.*\))?$", done.stdout, re.MULTILINE)
    assert {name for name, *_ in verdicts} == {LAYERS, TORCH, RUNTIME, NNUNET, VISION}, done.stdout
    broken = {name for name, verdict, _ in verdicts if verdict == "BROKEN"}
    assert done.returncode == (1 if broken else 0)
    return broken


def write(toy: Path, module: str, source: str) -> None:
    path = toy / "segduet" / f"{module}.py"
    path.parent.mkdir(exist_ok=True)
    (path.parent / "__init__.py").touch()
    path.write_text(source)


def test_an_empty_package_of_our_shape_keeps_every_contract(toy: Path) -> None:
    assert broken_contracts(toy) == set()


@pytest.mark.parametrize(
    ("module", "source", "broken"),
    [
        ("core/upward", "import segduet.io", LAYERS),
        ("training/sideways", "def f():\n    from segduet import inference", LAYERS),
        ("losses/sideways", "import segduet.networks", LAYERS),
        ("compression/upward", "import segduet.workflows", LAYERS),
        ("unplaced/thing", "", LAYERS),
        ("metrics/heavy", "def f():\n    import torch.nn", TORCH),
        ("preparation/heavy", "from torch import nn", TORCH),
        ("inference/predictor", "import torch", RUNTIME),
        ("inference/engines/other_engine", "def f():\n    import torch", RUNTIME),
        ("training/stock", "def f():\n    from nnunetv2.paths import nnUNet_raw", NNUNET),
        ("workflows/other", "import nnunetv2", NNUNET),
        ("networks/borrowed", "import torchvision.models", VISION),
        ("networks/borrowed", "from timm import create_model", VISION),
    ],
)
def test_a_forbidden_import_breaks_its_contract(
    toy: Path, module: str, source: str, broken: str
) -> None:
    write(toy, module, source)
    assert broken_contracts(toy) == {broken}


def test_torch_reached_through_another_package_is_found(toy: Path) -> None:
    write(toy, "networks/unet", "import torch")
    write(toy, "evaluation/detour", "import segduet.networks.unet")
    assert broken_contracts(toy) == {TORCH}


def test_what_the_design_allows_is_allowed(toy: Path) -> None:
    write(toy, "nnunet/planner", "def f():\n    import nnunetv2.experiment_planning")
    write(toy, "workflows/nnunet_trainer", "from nnunetv2.training import nnUNetTrainer")
    write(toy, "training/loop", "import torch\nimport segduet.nnunet.planner\nimport segduet.core")
    assert broken_contracts(toy) == set()
