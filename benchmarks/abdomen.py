"""Fast mode on CTs of 120 x 512 x 512 voxels with an organ to find, by trained networks.

Usage: python benchmarks/abdomen.py --work DIR [--quick] [--stages NAME ...]

Stages, each of them kept in DIR and not run again: `data` (phantoms; nnU-Net's plan, with a network
of 32 to 320 features and the patch 64 x 128 x 192; `plan --coarse`; preprocessing), `train` (both
networks; how the fine one is learnt in minutes stands in abdomen_networks.py), `export` (8 bits
behind the gate, with the coarse network), `recall` (of fresh scans, how much of the reference lies
in the region that is found), `accuracy` (DSC of fast mode and of nnU-Net's windows with mirroring),
`scans` (files to time), `timing` (fast mode warm and cold, and stock nnU-Net, extrapolated from its
windows; for an idle machine), `write`.

Everything is done by the commands a user has. `--quick` runs all stages on small scans with small
networks to show that the script works, and writes no result.

Writes docs/results/abdomen.json.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from abdomen_accuracy import accuracy_of_case, accuracy_summary, recall_of_case, recall_summary
from abdomen_networks import (
    FULL,
    GATE_SEED,
    QUICK,
    TRAIN_SEED,
    Work,
    export,
    make_data,
    train,
)
from abdomen_phantoms import abdomen
from abdomen_timing import timing
from results_file import write_result
from segduet.core.files import read_json, write_json
from segduet.io.itk import write_scan

BARS = {
    "warm_speed_up": 500,
    "cold_speed_up": 300,
    "region_recall": 0.999,
    "dsc_loss": 0.005,
    "peak_gib": 1.0,
}
NOTES = [
    "Phantoms: an organ that is plain to see, and scans that differ in little else than anatomy.",
    "Both networks were trained for minutes on a CPU; their DSC says nothing about patients.",
    "The fine network was a trained one of a quarter of its features, widened, and trained on.",
    "Stock nnU-Net's time is extrapolated from the windows that were timed to all it would lay.",
    "stock_mirrored: mirrored in a part around organ and region only, see abdomen_accuracy.py.",
    "Recall: the reference stood in for the fine network where the region was checked.",
]
RECALL_SEED, ACCURACY_SEED, TIMING_SEED = 3, 4, 5


def recall(work: Work) -> dict[str, Any]:
    """Region recall of the coarse network on fresh scans."""
    size = work.size
    return recall_summary(
        _by_case(
            work,
            "recall",
            size.num_recall,
            lambda index: recall_of_case(
                abdomen(size.scan, size.scan_mm, seed=RECALL_SEED, index=index),
                coarse=work.coarse,
                fine=work.fine,
                index=index,
            ),
        )
    )


def accuracy(work: Work) -> dict[str, Any]:
    """DSC of fast mode and of nnU-Net's windows on fresh scans."""
    size = work.size
    return accuracy_summary(
        _by_case(
            work,
            "accuracy",
            size.num_accuracy,
            lambda index: accuracy_of_case(
                abdomen(size.scan, size.scan_mm, seed=ACCURACY_SEED, index=index),
                bundle=work.bundle,
                fine=work.fine,
                index=index,
            ),
        )
    )


def _by_case(
    work: Work, name: str, num_cases: int, measure: Callable[[int], dict[str, Any]]
) -> Iterable[dict[str, Any]]:
    """What is measured of every case; cases that were measured before are read."""
    for index in range(num_cases):
        kept = work.record(f"{name}/{index:03d}")
        if not kept.is_file():
            write_json(kept, measure(index))
            print(time.strftime("%H:%M:%S"), name, index, kept.read_text()[:200], flush=True)
        yield read_json(kept)


def make_scans(work: Work) -> dict[str, Any]:
    """The files that are timed, each in a folder of its own."""
    scans = work.scans()
    for index, scan in enumerate(scans):
        scan.parent.mkdir(parents=True, exist_ok=True)
        phantom = abdomen(work.size.scan, work.size.scan_mm, seed=TIMING_SEED, index=index)
        write_scan(scan, phantom.image, phantom.geometry)
    return {"scans": len(scans)}


def measure_time(work: Work) -> dict[str, Any]:
    """Times and memory; meant for a machine that does nothing else."""
    return timing(bundle=work.bundle, stock=work.folder / "stock", scans=work.scans())


STAGES: dict[str, Callable[[Work], dict[str, Any]]] = {
    "data": make_data,
    "train": train,
    "export": export,
    "recall": recall,
    "accuracy": accuracy,
    "scans": make_scans,
    "timing": measure_time,
}


def main() -> None:
    """Runs what is asked for and not done yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--stages", nargs="+", choices=[*STAGES, "write"])
    options = parser.parse_args()
    work = Work(options.work.resolve(), QUICK if options.quick else FULL)
    wanted = options.stages or [*STAGES, "write"]
    for name in (stage for stage in STAGES if stage in wanted):
        if not work.record(name).is_file():
            write_json(work.record(name), STAGES[name](work))
    figures = {s: read_json(work.record(s)) for s in STAGES if work.record(s).is_file()}
    print(json.dumps(figures, indent=1))
    if "write" in wanted and not options.quick:
        seeds = [TRAIN_SEED, GATE_SEED, RECALL_SEED, ACCURACY_SEED, TIMING_SEED]
        figures = {"bars": BARS, **figures, "notes": NOTES}
        print(write_result("abdomen", seeds=seeds, figures=figures))


if __name__ == "__main__":
    main()
