"""From the start of `segduet predict` to its first window: what a command costs before it works.

Usage: python benchmarks/cold_start.py [--quick] [--rounds N]

The crop and the plain 32..320 network of crop_case.py, as an 8-bit bundle in fast mode and as a
stock model folder in exact mode, whose conversion is kept. Fresh processes that take turns; files
are warm, and each command has run once before. The first window is the moment when a converted
network network is first called, which first_window.py notes in the process itself; the clock is the
monotonic one that all processes share.

Writes docs/results/cold_start.json (not with --quick).
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from crop_case import SEED, CropCase, make_image, make_int8_bundle, make_stock_model
from results_file import write_result

BAR_SECONDS = 0.6
_NOTING = Path(__file__).with_name("first_window.py")
_OPTIONS = {"int8 bundle, fast": ["--mode", "fast"], "model folder, exact": []}


def one_start(model: Path, images: Path, options: Sequence[str], root: Path) -> dict[str, float]:
    """Seconds from the start of a fresh process to its first window."""
    with tempfile.TemporaryDirectory(dir=root) as folder:
        target = Path(folder) / "first.json"
        predict = ["predict", str(model), str(images), "--out", str(Path(folder) / "out")]
        predict += ["--cache", str(root / "cache")]
        command = [sys.executable, str(_NOTING), str(target), *predict, *options]
        started = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        ended = time.monotonic()
        if done.returncode:
            raise SystemExit(f"{command}: exit {done.returncode}\n{done.stderr}")
        first = json.loads(target.read_text(encoding="utf-8"))
    return {
        "first_window": first["monotonic"] - started,
        "cpu": first["cpu"],
        "whole_command": ended - started,
    }


def measure(crop: CropCase, rounds: int) -> dict[str, Any]:
    """Both ways to start, in turn."""
    with tempfile.TemporaryDirectory(prefix="segduet-start-") as name:
        root = Path(name)
        stock = make_stock_model(root, crop)
        images = make_image(root, crop)
        bundle = make_int8_bundle(stock, root / "int8.zip")
        models = dict(zip(_OPTIONS, (bundle, stock), strict=True))
        for what, options in _OPTIONS.items():
            one_start(models[what], images, options, root)
        runs: dict[str, list[Mapping[str, float]]] = {what: [] for what in _OPTIONS}
        for number in range(rounds):
            for what in list(_OPTIONS) if number % 2 == 0 else reversed(list(_OPTIONS)):
                runs[what].append(one_start(models[what], images, _OPTIONS[what], root))
                print(what, runs[what][-1], flush=True)
    return {
        "bar_seconds": BAR_SECONDS,
        "rounds": rounds,
        "weights": "random: time only",
        "starts": {
            what: {
                f"{key}_seconds": median_and_range([run[key] for run in done]) for key in done[0]
            }
            for what, done in runs.items()
        },
    }


def median_and_range(values: Sequence[float]) -> dict[str, float]:
    """What a reader needs of a few runs."""
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def main() -> None:
    """Measures and writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tiny network, three rounds")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    if options.quick:
        print(json.dumps(measure(CropCase.quick(), 3), indent=1))
        return
    figures = measure(CropCase(), options.rounds)
    print(json.dumps(figures, indent=1))
    print(write_result("cold_start", seeds=[SEED], figures=figures))


if __name__ == "__main__":
    main()
