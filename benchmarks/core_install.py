"""Is the core install small, free of PyTorch, and able to predict, check, evaluate and report?

Usage: python benchmarks/core_install.py DATA_ROOT DATASET RUN_FOLDER

Makes a fresh virtual environment with segduet alone (no extras), measures it, and runs with
it `predict` with the bundle that this environment exports of a trained run, `evaluate` on these
answers, `check` and `report`. Writes docs/results/core_install.json.
"""

import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

from results_file import REPOSITORY, write_result
from segduet.core.files import read_csv

LIMIT_MB = 800
LIMIT_DEPENDENCIES = 16


def main() -> None:
    """Installs, measures, runs."""
    root, dataset, run_folder = (Path(a) if "/" in a else a for a in sys.argv[1:])
    with tempfile.TemporaryDirectory(prefix="segduet-core-") as folder:
        environment = Path(folder) / "venv"
        venv.create(environment, with_pip=True)
        empty_mb = _size_mb(environment)
        python = environment / "bin" / "python"
        constraints = REPOSITORY / "constraints.txt"
        _run(python, "-m", "pip", "install", "-q", "-c", str(constraints), str(REPOSITORY))
        packages = _run(python, "-m", "pip", "list", "--format=freeze").split()
        names = {p.split("==")[0].lower() for p in packages}
        installed_mb = _size_mb(environment) - empty_mb
        scores, bundle = Path(folder) / "scores", Path(folder) / "model.zip"
        export = ("export", str(run_folder), "--to", "bundle", "--format", "onnx")
        _run(sys.executable, "-m", "segduet", *export, "--out", bundle)
        answers = f"{folder}/answers"
        images = _validation_images(Path(root) / "nnUNet_raw" / str(dataset), Path(folder))
        predict = ["predict", str(bundle), str(images), "--out", answers, "--no-tta"]
        _run(environment / "bin" / "segduet", *predict)
        commands = {
            "check": ["check", str(dataset)],
            "evaluate": [
                *("evaluate", "--reference", str(dataset), "--split", "val"),
                *("--predictions", answers, "--out", str(scores)),
            ],
            "report": ["report", str(run_folder), str(scores), "--out", f"{folder}/report.html"],
        }
        for arguments in commands.values():
            _run(environment / "bin" / "segduet", *arguments, "--data-root", str(root))
    declared = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["dependencies"]
    figures = {
        "direct_dependencies": len(declared),
        "packages": len(packages),
        "disk_mb": round(installed_mb),
        "has_torch": "torch" in names,
        "commands_run": sorted(["predict", *commands]),
        "passed": len(declared) <= LIMIT_DEPENDENCIES
        and installed_mb < LIMIT_MB
        and "torch" not in names,
    }
    print(write_result("core_install", seeds=[], figures=figures), figures)


def _validation_images(raw: Path, folder: Path) -> Path:
    """A list of the images of the split `val`."""
    cases = [row["case"] for row in read_csv(raw / "cases.csv")[1] if row["split"] == "val"]
    images = (path for case in cases for path in sorted((raw / "imagesTr").glob(f"{case}_0*")))
    listing = folder / "images.txt"
    listing.write_text("\n".join(str(path.resolve()) for path in images) + "\n")
    return listing


def _run(*command: str | Path) -> str:
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{command}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def _size_mb(folder: Path) -> float:
    files = (p for p in folder.rglob("*") if p.is_file() and not p.is_symlink())
    return sum(p.stat().st_size for p in files) / 2**20


if __name__ == "__main__":
    main()
