"""One command from a cold start on one crop: `segduet predict` against stock nnU-Net's command.

Usage: python benchmarks/crop_cold.py [--quick] [--rounds N] [--mirrored-rounds N]

A crop of 70 x 120 x 180 voxels, a plain 32..320 network at windows of 64 x 128 x 192, as stock
nnU-Net's trainer saved it. Both sides are whole commands in fresh processes, from the start of the
process to its end; they take turns (ABBA), and files are warm. Ours is `--mode fast`: an 8-bit
bundle, and, for whoever has only the model folder, bf16. Its conversion is made before, once.
Stock's is its default, which mirrors, and with mirroring off.

The weights are random: this measures time and nothing else. Accuracy of int8 and of fast mode is
measured elsewhere, on trained models.

Writes docs/results/crop_cold.json (not with --quick).
"""

import argparse
import json
import shutil
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from crop_case import SEED, CropCase, make_image, make_int8_bundle, make_stock_model
from results_file import write_result
from segduet.workflows.bench_arms import Arm, segduet_arm, stock_arm
from segduet.workflows.bench_process import ProcessSample, run_fresh

#: Times faster that is asked for: against stock's default, and with its mirroring off.
BARS = {"stock_mirrored": 60, "stock": 14}
_STOCK = {"stock": {"no-tta": "true"}, "stock_mirrored": {}}


def arms_of(root: Path, crop: CropCase) -> dict[str, Arm]:
    """Every command, with its model."""
    model = make_stock_model(root, crop)
    bundle = make_int8_bundle(model, root / "int8.zip")
    fast = {"mode": "fast", "cache": str(root / "cache")}
    return {
        "int8": segduet_arm(bundle, fast, where="int8"),
        "bf16": segduet_arm(model, {**fast, "precision": "bf16"}, where="bf16"),
        **{name: stock_arm(model, {}, own, where=name) for name, own in _STOCK.items()},
    }


def one_sample(name: str, arm: Arm, images: Path, root: Path) -> ProcessSample:
    """One command in a fresh process."""
    folder = root / "sample"
    out = folder / "answers"
    out.mkdir(parents=True)
    try:
        sample = run_fresh(arm.command(images, out), folder, cores=None, who=name)
    finally:
        shutil.rmtree(folder)
    print(f"{name}: {sample.wall_s:.3f} s, others {sample.other_cpu_s} s", flush=True)
    return sample


def in_turn(
    arms: Mapping[str, Arm], images: Path, root: Path, rounds: int
) -> dict[str, list[ProcessSample]]:
    """Every arm once a round, in turned order every other round."""
    samples: dict[str, list[ProcessSample]] = {name: [] for name in arms}
    for number in range(rounds):
        for name in list(arms) if number % 2 == 0 else reversed(list(arms)):
            samples[name].append(one_sample(name, arms[name], images, root))
    return samples


def figures_of(samples: Mapping[str, Sequence[ProcessSample]], stock: str) -> dict[str, Any]:
    """Seconds of each arm, and how many times faster ours are, round by round."""
    walls = {name: [s.wall_s for s in done] for name, done in samples.items()}
    return {
        "rounds": len(walls[stock]),
        "seconds": {name: median_and_range(seconds) for name, seconds in walls.items()},
        "cpu_seconds": {
            name: median_and_range([s.user_s + s.system_s for s in done])
            for name, done in samples.items()
        },
        "times_faster": {
            name: median_and_range([b / a for a, b in zip(seconds, walls[stock], strict=True)])
            for name, seconds in walls.items()
            if name != stock
        },
        "peak_mb": {name: max(s.peak_rss_mb for s in done) for name, done in samples.items()},
        "most_other_cpu_s": {
            name: max(s.other_cpu_s or 0.0 for s in done) for name, done in samples.items()
        },
    }


def median_and_range(values: Sequence[float]) -> dict[str, float]:
    """What a reader needs of a few runs."""
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def measure(crop: CropCase, rounds: int, mirrored_rounds: int) -> dict[str, Any]:
    """All figures; both of ours run once before, which makes what they keep."""
    with tempfile.TemporaryDirectory(prefix="segduet-crop-") as name:
        root = Path(name)
        arms = arms_of(root, crop)
        images = make_image(root, crop)
        ours = {name: arms[name] for name in ("int8", "bf16")}
        for label, arm in ours.items():
            one_sample(f"{label}, before", arm, images, root)
        plan = {"stock": rounds, "stock_mirrored": mirrored_rounds}
        return {
            "bars": BARS,
            "weights": "random: time only",
            "against": {
                stock: figures_of(in_turn({**ours, stock: arms[stock]}, images, root, count), stock)
                for stock, count in plan.items()
            },
        }


def main() -> None:
    """Measures and writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tiny network, one round each")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mirrored-rounds", type=int, default=3)
    options = parser.parse_args()
    if options.quick:
        print(json.dumps(measure(CropCase.quick(), 1, 1), indent=1))
        return
    figures = measure(CropCase(), options.rounds, options.mirrored_rounds)
    print(json.dumps(figures, indent=1))
    print(write_result("crop_cold", seeds=[SEED], figures=figures))


if __name__ == "__main__":
    main()
