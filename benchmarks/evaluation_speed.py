"""Evaluation of 200 cases: overlap against nnUNetv2_evaluate_folder, surfaces against MONAI.

Usage: python benchmarks/evaluation_speed.py --work FOLDER [--monai-python PYTHON] [--quick]
       [--rounds N]

Phantom hearts of ACDC's size (10 x 256 x 216 voxels of 10 x 1.5 x 1.5 mm, three labels), reference
and prediction. Every run is a fresh process, the sides take turns (ABBA), files are warm.

Overlap and volumes, of the same files: the whole command from its start to the written files, as a
user calls it. `segduet` is `segduet evaluate --overlap-only --workers 2`: six figures per case and
region, and their means with intervals; `nnunet` is nnUNetv2_evaluate_folder as it is (eight
processes), `nnunet_2_processes` the same with -np 2. Much of either is start-up; `loop` is the work
on the cases alone, one after the other in one process. `all_metrics` is `segduet evaluate` without
--overlap-only: surfaces and lesions as well, which nnU-Net does not measure; it has no bar.

Surfaces (NSD at 2 mm, HD95, ASSD), of the same masks in memory: the loop over cases and labels
without imports, one thread each (on arrays this small more only slow PyTorch down). MONAI needs a
Python that has MONAI (1.6.1) beside what segduet asks for; it runs both sides.

What is done is remembered in FOLDER, so that a broken run goes on where it was. Writes
docs/results/evaluation_speed.json (not with --quick).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from results_file import REPOSITORY, write_result
from segduet.core.cases import CaseRecord
from segduet.core.files import read_csv, read_json, write_csv, write_json
from segduet.core.geometry import Geometry
from segduet.core.labels import LabelScheme
from segduet.evaluation.scoring import score_case
from segduet.io.images import read_label_map, write_label_map
from segduet.metrics.surface import assd_mm, hd95_mm, nsd, surface_distances

SEED = 0
NUM_CASES = {"full": 200, "quick": 12}
#: What is asked for: speed-ups, and how near values must be (float32 inside MONAI).
BARS = {"overlap": 5.0, "surfaces": 3.0, "dice": 1e-9}
VALUE_TOLERANCE = {"nsd": 1e-6, "hd95_mm": 1e-4, "assd_mm": 1e-5}
GRID = Geometry(shape_zyx=(10, 256, 216), spacing_zyx_mm=(10.0, 1.5, 1.5))
NAMES = {"background": 0, "RV": 1, "MYO": 2, "LV": 3}
LABELS = LabelScheme.from_dataset_json(NAMES, None, where="benchmark")
NSD_TOLERANCE_MM = 2.0
SIDES = {
    "overlap": ("segduet", "nnunet", "nnunet_2_processes"),
    "all_metrics": ("segduet",),
    "loop": ("segduet", "nnunet"),
}
SURFACE_SIDES = ("segduet", "monai")
#: Rounds of everything but `overlap`: they vary less, and take longer.
NUM_OTHER_ROUNDS = 3


def heart(rng: np.random.Generator, centre: np.ndarray, size: float) -> np.ndarray:
    """A ventricle in its wall with another beside it, narrower towards the apex: uint8."""
    z, y, x = np.ogrid[: GRID.shape_zyx[0], : GRID.shape_zyx[1], : GRID.shape_zyx[2]]
    taper = np.sqrt(np.clip(1 - ((z - 3.0) / 6.0) ** 2, 0, None)) * size
    wobble = 1 + 0.05 * np.sin(3 * np.arctan2(y - centre[0], x - centre[1]) + rng.uniform(0, 6))
    radius = np.hypot(y - centre[0], x - centre[1]) * wobble
    beside = np.hypot((y - centre[0]) / 1.3, x - centre[1] + 38 * size)
    label_map = np.zeros(GRID.shape_zyx, dtype=np.uint8)
    label_map[beside < 24 * taper] = NAMES["RV"]
    label_map[radius < 28 * taper] = NAMES["MYO"]
    label_map[radius < 19 * taper] = NAMES["LV"]
    return label_map


def write_data(folder: Path, num_cases: int) -> None:
    """Masks, the descriptions both tools ask for, and a table of the cases."""
    for index in range(num_cases):
        rng = np.random.default_rng([SEED, index])
        centre, size = rng.normal((128, 118), 6), rng.uniform(0.85, 1.15)
        moved = centre + rng.normal(0, 1.0, 2), size * rng.uniform(0.95, 1.05)
        for side, shape in (("labelsTr", (centre, size)), ("predictions", moved)):
            target = folder / side / f"case_{index:03d}.nii.gz"
            if not target.exists():
                write_label_map(target, heart(rng, *shape), GRID)
    description = {
        "channel_names": {"0": "MR"},
        "labels": NAMES,
        "numTraining": num_cases,
        "file_ending": ".nii.gz",
    }
    write_json(folder / "dataset.json", description)
    write_json(folder / "plans.json", {"label_manager": "LabelManager"})
    columns = ["case", "patient", "site", "split"]
    rows = [{**dict.fromkeys(columns, ""), "case": c, "patient": c} for c in case_names(num_cases)]
    write_csv(folder / "cases.csv", columns, rows)


def case_names(num_cases: int) -> list[str]:
    """In order."""
    return [f"case_{index:03d}" for index in range(num_cases)]


def loop_of_segduet(folder: Path, num_cases: int) -> float:
    """Seconds for reading and scoring, case after case."""
    started = time.perf_counter()
    for case in case_names(num_cases):
        pair = [read_label_map(folder / s / f"{case}.nii.gz") for s in ("labelsTr", "predictions")]
        score_case(CaseRecord(case=case, patient=case), *pair, labels=LABELS, answers={})
    return time.perf_counter() - started


def loop_of_nnunet(folder: Path, num_cases: int) -> float:
    """As `loop_of_segduet`, with the function that nnunetv2's workers run."""
    from nnunetv2.evaluation.evaluate_predictions import compute_metrics
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

    reader = SimpleITKIO()
    started = time.perf_counter()
    for case in case_names(num_cases):
        pair = [str(folder / s / f"{case}.nii.gz") for s in ("labelsTr", "predictions")]
        compute_metrics(*pair, reader, [1, 2, 3])
    return time.perf_counter() - started


def mask_pairs(folder: Path, num_cases: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Reference and prediction of every case: (3, Z, Y, X) bool, one per label."""
    for case in case_names(num_cases):
        maps = (
            read_label_map(folder / s / f"{case}.nii.gz").array for s in ("labelsTr", "predictions")
        )
        reference, prediction = (np.stack([m[0] == k for k in (1, 2, 3)]) for m in maps)
        yield reference, prediction


def surfaces_of_segduet(pair: tuple[np.ndarray, np.ndarray]) -> list[list[float | None]]:
    """NSD, HD95 and ASSD of each label."""
    values = []
    for reference, prediction in zip(*pair, strict=True):
        distances = surface_distances(reference, prediction, spacing_mm=GRID.spacing_zyx_mm)
        scores = (
            nsd(distances, tolerance_mm=NSD_TOLERANCE_MM),
            hd95_mm(distances),
            assd_mm(distances),
        )
        values.append([score.value for score in scores])
    return values


def monais_surfaces() -> Callable[[Any], list[list[float]]]:
    """MONAI's three functions on tensors of the same masks."""
    import torch
    from monai.metrics import (
        compute_average_surface_distance,
        compute_hausdorff_distance,
        compute_surface_dice,
    )

    def values(pair: tuple[torch.Tensor, torch.Tensor]) -> list[list[float]]:
        reference, prediction = pair
        given = {"include_background": True, "spacing": list(GRID.spacing_zyx_mm)}
        found = (
            compute_surface_dice(prediction, reference, [NSD_TOLERANCE_MM] * 3, **given),
            compute_hausdorff_distance(prediction, reference, percentile=95, **given),
            compute_average_surface_distance(prediction, reference, symmetric=True, **given),
        )
        return torch.stack([f[0] for f in found], dim=1).tolist()

    return values


def surfaces(side: str, folder: Path, num_cases: int) -> dict[str, Any]:
    """Seconds of the loop, and the values."""
    pairs: list[Any] = list(mask_pairs(folder, num_cases))
    measure: Callable[[Any], Any] = surfaces_of_segduet
    if side == "monai":
        import torch

        pairs = [tuple(torch.from_numpy(m)[None] for m in pair) for pair in pairs]
        measure = monais_surfaces()
    measure(pairs[0])  # what a first call loads is left out on both sides
    started = time.perf_counter()
    values = [measure(pair) for pair in pairs]
    seconds = time.perf_counter() - started
    write_json(folder / f"surfaces_{side}.json", {"values": values})
    return {"seconds": seconds}


def arm(kind: str, side: str, folder: Path, num_cases: int) -> dict[str, Any]:
    """What a fresh process does."""
    if kind == "surfaces":
        return surfaces(side, folder, num_cases)
    loop = loop_of_segduet if side == "segduet" else loop_of_nnunet
    return {"seconds": loop(folder, num_cases)}


class Runs:
    """Runs one arm at a time and remembers its seconds."""

    def __init__(self, folder: Path, num_cases: int, monai_python: Path | None) -> None:
        self.folder, self.num_cases = folder, num_cases
        self.monai_python = monai_python
        self.store = folder / "runs.json"
        self.seconds: dict[str, float] = read_json(self.store) if self.store.exists() else {}

    def measured(self, kind: str, side: str, number: int) -> float:
        """Seconds of this run, now or from before."""
        key = f"{kind}/{side}/{number}"
        if key not in self.seconds:
            self.seconds[key] = self._run(kind, side)
            write_json(self.store, self.seconds)
            print(key, round(self.seconds[key], 3), flush=True)
        return self.seconds[key]

    def in_turn(self, kind: str, sides: tuple[str, ...], rounds: int) -> dict[str, list[float]]:
        """ABBA."""
        seconds: dict[str, list[float]] = {side: [] for side in sides}
        for number in range(rounds):
            for side in sides if number % 2 == 0 else sides[::-1]:
                seconds[side].append(self.measured(kind, side, number))
        return seconds

    def _run(self, kind: str, side: str) -> float:
        started = time.perf_counter()
        done = subprocess.run(
            self._command(kind, side),
            env=self._environment(kind),
            capture_output=True,
            text=True,
            check=False,
        )
        whole = time.perf_counter() - started
        if done.returncode:
            raise SystemExit(f"{kind}/{side}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
        if kind in ("surfaces", "loop"):
            return float(json.loads(done.stdout.splitlines()[-1])["seconds"])
        return whole

    def _command(self, kind: str, side: str) -> list[str]:
        if kind in ("surfaces", "loop"):
            python = self.monai_python if kind == "surfaces" else sys.executable
            return [
                str(python),
                __file__,
                "--arm",
                kind,
                side,
                str(self.folder),
                str(self.num_cases),
            ]
        return self._evaluation(kind) if side == "segduet" else self._evaluation_of_nnunet(side)

    def _evaluation(self, kind: str) -> list[str]:
        folder = self.folder
        given = ["--reference", f"{folder}", "--predictions", f"{folder}/predictions"]
        what = ["--overlap-only"] if kind == "overlap" else []
        command = [sys.executable, "-m", "segduet", "evaluate", *given, *what]
        return [*command, "--out", f"{folder}/{kind}", "--workers", "2"]

    def _evaluation_of_nnunet(self, side: str) -> list[str]:
        folder = self.folder
        command = str(Path(sys.executable).parent / "nnUNetv2_evaluate_folder")
        files = ["-djfile", f"{folder}/dataset.json", "-pfile", f"{folder}/plans.json"]
        processes = [] if side == "nnunet" else ["-np", "2"]
        masks = [f"{folder}/labelsTr", f"{folder}/predictions"]
        return [command, *masks, *files, "-o", f"{folder}/nnunet.json", *processes]

    def _environment(self, kind: str) -> dict[str, str]:
        ours = {f"nnUNet_{n}": str(self.folder) for n in ("raw", "preprocessed", "results")}
        ours["PYTHONPATH"] = str(REPOSITORY / "src")
        return {**os.environ, **ours, **({"OMP_NUM_THREADS": "1"} if kind == "surfaces" else {})}


def median_and_range(values: list[float]) -> dict[str, float]:
    """What a reader needs of a few runs."""
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def compared(seconds: dict[str, list[float]]) -> dict[str, Any]:
    """Seconds of all sides, and how many times faster ours is, round by round."""
    ours = seconds["segduet"]
    return {
        "rounds": len(ours),
        "seconds": {side: median_and_range(found) for side, found in seconds.items()},
        "speed_up_paired": {
            side: median_and_range([b / a for a, b in zip(ours, theirs, strict=True)])
            for side, theirs in seconds.items()
            if side != "segduet"
        },
    }


def largest_dice_difference(folder: Path) -> float:
    """Between both tools, over all cases, labels, Dice and IoU."""
    ours = {row["case"]: row for row in read_csv(folder / "overlap" / "scores.csv")[1]}
    differences = [
        abs(float(ours[case][f"{name}/{metric}"]) - value)
        for row in read_json(folder / "nnunet.json")["metric_per_case"]
        for case in [Path(row["reference_file"]).name.removesuffix(".nii.gz")]
        for name, label in NAMES.items()
        if label
        for metric, theirs in (("dsc", "Dice"), ("iou", "IoU"))
        for value in [row["metrics"][str(label)][theirs]]
    ]
    return max(differences)


def surface_differences(folder: Path) -> dict[str, float]:
    """Largest by metric, over all cases and labels."""
    ours, theirs = (
        np.array(read_json(folder / f"surfaces_{side}.json")["values"], dtype=np.float64)
        for side in SURFACE_SIDES
    )
    largest = np.abs(ours - theirs).max(axis=(0, 1))
    return dict(zip(VALUE_TOLERANCE, largest.tolist(), strict=True))


def measure(runs: Runs, rounds: int) -> dict[str, Any]:
    """Everything, with what passed."""
    fewer = min(rounds, NUM_OTHER_ROUNDS)
    figures: dict[str, Any] = {"n_cases": runs.num_cases, "bars": BARS}
    for kind, sides in SIDES.items():
        num_rounds = rounds if kind == "overlap" else fewer
        figures[kind] = compared(runs.in_turn(kind, sides, num_rounds))
    figures["overlap"]["largest_difference"] = largest_dice_difference(runs.folder)
    passed = {
        f"overlap_against_{side}": speed_up["median"] >= BARS["overlap"]
        for side, speed_up in figures["overlap"]["speed_up_paired"].items()
    }
    passed |= {
        "dice": figures["overlap"]["largest_difference"] <= BARS["dice"],
    }
    if runs.monai_python is None:
        figures["surfaces"] = {"reason": "not measured: no --monai-python was given"}
        return {**figures, "passed": {**passed, "surfaces": None}}
    figures["surfaces"] = compared(runs.in_turn("surfaces", SURFACE_SIDES, fewer))
    differences = surface_differences(runs.folder)
    figures["surfaces"]["largest_difference"] = differences
    is_fast = figures["surfaces"]["speed_up_paired"]["monai"]["median"] >= BARS["surfaces"]
    passed |= {
        "surfaces": is_fast,
        "surface_values": all(differences[m] <= t for m, t in VALUE_TOLERANCE.items()),
    }
    return {**figures, "passed": passed}


def main() -> None:
    """Measures, or does one arm's work."""
    if sys.argv[1:2] == ["--arm"]:
        kind, side, folder, num_cases = sys.argv[2:6]
        print(json.dumps(arm(kind, side, Path(folder), int(num_cases))))
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--monai-python", type=Path)
    parser.add_argument("--quick", action="store_true", help="few cases, one round, nothing kept")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    size = "quick" if arguments.quick else "full"
    folder = (arguments.work / size).resolve()
    write_data(folder, NUM_CASES[size])
    runs = Runs(folder, NUM_CASES[size], arguments.monai_python)
    figures = measure(runs, 1 if arguments.quick else arguments.rounds)
    print(json.dumps(figures, indent=1))
    if not arguments.quick:
        print(write_result("evaluation_speed", seeds=[SEED], figures=figures))


if __name__ == "__main__":
    main()
