"""B12: predicting, but for the PyTorch engine, runs where PyTorch is not installed."""

import subprocess
import sys

_SCRIPT = """
import importlib, pkgutil, sys
for top in ("segduet.inference", "segduet.windows"):
    package = importlib.import_module(top)
    for module in pkgutil.iter_modules(package.__path__, top + "."):
        importlib.import_module(module.name)
print(sorted(m for m in sys.modules if m.split(".")[0] in {"torch", "nnunetv2"}))
"""


def test_everything_but_the_engines_imports_without_torch():
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stderr == ""
    assert done.stdout.strip() == "[]"
