"""Does a cohort of thousands stream in flat memory, and go on after any kill?

Usage: python benchmarks/cohort_prediction.py --work DIR [--cases 2000] [--kills 20] [--seed 0]

A tiny network is trained on eight generated volumes and predicts `--cases` small generated ones
with `segduet predict` from a table, in a process of its own: once undisturbed, with its resident
memory read after every case, and once killed with SIGKILL after random numbers of cases and
restarted with `--resume`.

Bars (issue 6): memory grows by less than 5 % between case 100 and the last; after 20 kills every
case is answered as in the undisturbed run, nothing is lost and no case that was done is done again.
Writes docs/results/cohort_prediction.json.
"""

import argparse
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from results_file import write_result
from segduet.core.files import read_csv
from segduet.core.folders import DataRoot
from segduet.core.geometry import Geometry
from segduet.io.images import write_label_map
from segduet.io.itk import write_scan
from segduet.training.recipe_files import load_recipe
from segduet.workflows.importing import ImportRequest, import_dataset
from segduet.workflows.preparing import PlanRequest, plan, preprocess
from segduet.workflows.train_request import TrainRequest
from segduet.workflows.training import train

DATASET = "Dataset901_cohort"
FIRST = 100
BAR = 0.05
SHAPE = (8, 20, 20)
GRID = Geometry(shape_zyx=SHAPE, spacing_zyx_mm=(2.0, 1.0, 1.0))
_POLL_SECONDS = 0.002


def main() -> None:
    """Runs both and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    model = trained(arguments.work, arguments.seed)
    table = cohort(arguments.work, arguments.cases, arguments.seed)
    memory = undisturbed(model, table, arguments.work / "whole")
    kills = killed(model, table, arguments.work / "killed", arguments.kills, arguments.seed)
    figures = {
        "num_cases": arguments.cases,
        "memory": memory,
        "kills": {
            **kills,
            **compared(arguments.work / "whole", arguments.work / "killed"),
        },
    }
    figures["passed"] = _passed(figures, arguments)
    print(json.dumps(figures, indent=2))
    print(write_result("cohort_prediction", seeds=[arguments.seed], figures=figures))


def trained(work: Path, seed: int) -> Path:
    """A model folder whose network was trained for a few steps."""
    root = DataRoot.resolve(work / "data", {})
    found = sorted((root.results / DATASET).glob("*/fold_0/model.safetensors"))
    if found:
        return found[0].parents[1]
    source = work / "table"
    rows = ["case,class,patient,split"]
    for index in range(8):
        kind = "bright" if index % 2 else "dark"
        write_case(source / "images", f"c{index}", seed + index, masks=source / "masks")
        rows.append(f"c{index},{kind},p{index},{'train' if index < 6 else 'val'}")
    (source / "cases.csv").write_text("\n".join(rows) + "\n")
    import_dataset(root, ImportRequest(layout="table", source=source, name=DATASET, workers=2))
    plan(root, PlanRequest(dataset=DATASET, planner="small", workers=2))
    preprocess(root, DATASET, "3d_fullres", workers=2)
    recipe = load_recipe("default", ["epochs=1", "steps_per_epoch=20", "validation.final=false"])
    request = TrainRequest(
        dataset=DATASET, configuration="3d_fullres", recipe=recipe, device="cpu", overwrite=True
    )
    return Path(train(root, request).outcome["run_folder"]).parent


def write_case(folder: Path, case: str, seed: int, *, masks: Path | None = None) -> Path:
    """One volume of noise with a brighter box, and its mask where it is wanted."""
    rng = np.random.default_rng([7, seed])
    mask = np.zeros(SHAPE, dtype=np.uint8)
    y, x = rng.integers(2, 11, 2)
    mask[2:6, y : y + 7, x : x + 7] = 1
    image = rng.normal(100, 10, SHAPE) + mask * (90 if seed % 2 else 45)
    target = folder / f"{case}.nii.gz"
    folder.mkdir(parents=True, exist_ok=True)
    write_scan(target, image.astype(np.int16), GRID)
    if masks is not None:
        write_label_map(masks / target.name, mask, GRID)
    return target


def cohort(work: Path, num_cases: int, seed: int) -> Path:
    """A table of generated cases."""
    rows = ["case,image"]
    for index in range(num_cases):
        path = write_case(work / "cohort", f"case_{index:05d}", 1000 + seed + index)
        rows.append(f"case_{index:05d},cohort/{path.name}")
    table = work / "cohort.csv"
    table.write_text("\n".join(rows) + "\n")
    return table


def started(model: Path, table: Path, out: Path, *options: str) -> subprocess.Popen[bytes]:
    """`segduet predict` in a process of its own."""
    command = [sys.executable, "-m", "segduet", "predict", str(model), str(table)]
    command += ["--out", str(out), "--device", "cpu", "--threads", "1", "--json", *options]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def num_done(out: Path) -> int:
    """Cases written down; the first line says what answers."""
    file = out / "progress.jsonl"
    return max(0, file.read_bytes().count(b"\n") - 1) if file.is_file() else 0


def undisturbed(model: Path, table: Path, out: Path) -> dict[str, Any]:
    """Resident memory after every case of one run."""
    shutil.rmtree(out, ignore_errors=True)
    process, begun = started(model, table, out), time.perf_counter()
    watched, resident = psutil.Process(process.pid), {}
    while process.poll() is None:
        try:
            resident[num_done(out)] = watched.memory_info().rss / 2**20
        except psutil.NoSuchProcess:
            break
        time.sleep(_POLL_SECONDS)
    assert process.wait() == 0
    first = next(count for count in sorted(resident) if count >= FIRST)
    later = {count: mib for count, mib in resident.items() if count >= first}
    return {
        "mib_at_first": round(later[first], 2),
        "first": first,
        "mib_highest_afterwards": round(max(later.values()), 2),
        "growth": round(max(later.values()) / later[first] - 1, 4),
        "readings": len(later),
        "seconds": round(time.perf_counter() - begun, 1),
    }


def killed(model: Path, table: Path, out: Path, kills: int, seed: int) -> dict[str, Any]:
    """Kills and restarts, then lets the last run end; files of done cases must stay untouched."""
    shutil.rmtree(out, ignore_errors=True)
    total = len(read_csv(table)[1])
    generator = np.random.default_rng(seed)
    points = np.sort(generator.choice(np.arange(1, total), kills, replace=False)).tolist()
    at, touched = [], 0
    before: dict[str, int] = {}
    for point in points:
        process = started(model, table, out, "--resume")
        while num_done(out) < point and process.poll() is None:
            time.sleep(_POLL_SECONDS)
        time.sleep(generator.random() * 0.02)
        process.send_signal(signal.SIGKILL)
        if process.wait() == -signal.SIGKILL:  # and had not ended by itself
            at.append(num_done(out))
        touched += _changed(before, out)
        before = _written(out)
    assert started(model, table, out, "--resume").wait() == 0
    touched += _changed(before, out)
    return {"num_kills": len(at), "cases_done_at_kill": at, "files_written_again": touched}


def compared(whole: Path, restarted: Path) -> dict[str, Any]:
    """The answers and files of the restarted runs beside those of the undisturbed one."""
    lines = (restarted / "progress.jsonl").read_text(encoding="utf-8").splitlines()[1:]
    cases = [json.loads(line)["row"]["case"] for line in lines]
    expected, found = _answers(whole), _answers(restarted)
    names = [path.name for path in whole.glob("*.nii.gz")]
    return {
        "cases_written_down": len(cases),
        "cases_written_down_twice": len(cases) - len(set(cases)),
        "cases_lost": len(set(expected) - set(found)),
        "answers_that_differ": sum(expected[case] != found.get(case) for case in expected),
        "masks_that_differ": sum(
            (whole / name).read_bytes() != (restarted / name).read_bytes() for name in names
        ),
        "half_written_files": len(list(restarted.glob(".partial-*"))),
    }


def _answers(folder: Path) -> dict[str, dict[str, str]]:
    rows = read_csv(folder / "predictions.csv")[1]
    return {row["case"]: {**row, "seconds": ""} for row in rows}


def _written(out: Path) -> dict[str, int]:
    """Masks of the cases that are written down, with the time they were written."""
    lines = (out / "progress.jsonl").read_bytes().split(b"\n")[1:-1]
    names = [f"{json.loads(line)['row']['case']}.nii.gz" for line in lines]
    return {name: (out / name).stat().st_mtime_ns for name in names}


def _changed(before: dict[str, int], out: Path) -> int:
    return sum((out / name).stat().st_mtime_ns != when for name, when in before.items())


def _passed(figures: dict[str, Any], arguments: argparse.Namespace) -> bool:
    kills = figures["kills"]
    nothing = ("cases_written_down_twice", "cases_lost", "answers_that_differ")
    nothing += ("masks_that_differ", "files_written_again", "half_written_files")
    return (
        figures["memory"]["growth"] < BAR
        and kills["num_kills"] == arguments.kills
        and kills["cases_written_down"] == arguments.cases
        and not any(kills[name] for name in nothing)
    )


if __name__ == "__main__":
    main()
