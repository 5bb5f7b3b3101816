"""Do two processes that share every batch train as one does, and end within seconds of a death?

Usage: python benchmarks/ddp_equality.py --work DIR [--seeds 0] [--steps 50]

Trains on small volumes made in DIR, on the CPU, through `segduet train`, and through `torchrun`
for two processes. What is finished is not trained again. Writes docs/results/ddp_equality.json:

- equality: for every balancing the largest difference of any loss over the steps, two processes
  against one with the same global batch, with nnU-Net's SGD at its own rate, in float32 and in
  float64. As a control one process is compared with itself after its first weights were moved in
  their last digit: training amplifies rounding, in float32 until nothing is left of the agreement,
  and no comparison can be closer than that. So the bar is read in float64, where what is left
  after the same amplification still tells one computation from two that differ.
- deaths: seconds from the kill of a process until torchrun has ended, its exit code, whether the
  reason named the rank, what processes were left, and whether the run went on with --resume.
- speed: samples per second of one process on one thread and on two, and of two on one each.

Bars (issue 6, item 2): losses equal to 1e-5 over 50 steps for fixed, uncertainty, DWA and PCGrad;
the job ends with the reason within 30 s of a death.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cohort_prediction import write_case
from results_file import write_result
from segduet.core.files import read_json_lines
from segduet.core.folders import DataRoot
from segduet.workflows.planned_dataset import PlannedDataset
from segduet.workflows.run_folder import choose_run_folder

DATASET, CONFIGURATION = "Dataset902_together", "3d_fullres"
BALANCINGS = {
    "fixed": ("balancing.kind=fixed",),
    "uncertainty": ("balancing.kind=uncertainty",),
    "dwa": ("balancing.kind=dwa",),
    "pcgrad": ("balancing.kind=gradient", "balancing.method=pcgrad"),
}
RECIPE = "nnunet-sgd"
#: Number format of an arm -> by what its control's first weights are larger.
NUDGES = {"float32": 1e-7, "float64": 2.5e-16}
#: Name of an arm -> processes, threads of each.
ARMS = {"one": (1, 1), "one with two threads": (1, 2), "two": (2, 1)}
FIXED = (
    *("batch_size=4", "precision=fp32"),
    *("validation.final=false", "validation.patches_per_epoch=0"),
)
BAR, BAR_SECONDS = 1e-5, 30.0


def main() -> None:
    """Runs what is missing and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--steps", type=int, default=50)
    arguments = parser.parse_args()
    root = _prepared(arguments.work)
    equality = [
        _compared(root, dtype, balancing, seed=seed, steps=arguments.steps)
        for dtype in NUDGES
        for balancing in BALANCINGS
        for seed in arguments.seeds
    ]
    figures = {
        "bar": BAR,
        "passed": all(e["difference"] <= BAR for e in equality if e["dtype"] == "float64"),
        "equality": equality,
        "bar_seconds": BAR_SECONDS,
        "deaths": [_death(root, number) for number in (signal.SIGKILL, signal.SIGTERM)],
        "speed": _speed(root),
    }
    sys.stdout.write(f"{write_result('ddp_equality', seeds=arguments.seeds, figures=figures)}\n")


def _prepared(work: Path) -> Path:
    """Data root with eight small volumes of noise and a box, planned and preprocessed."""
    root, source = work / "data", work / "table"
    if (root / "nnUNet_preprocessed" / DATASET / "segduetSmallPlans_3d_fullres").is_dir():
        return root
    rows = ["case,class,patient,split"]
    for index in range(8):
        kind = "bright" if index % 2 else "dark"
        write_case(source / "images", f"c{index}", index, masks=source / "masks")
        rows.append(f"c{index},{kind},p{index},{'train' if index < 6 else 'val'}")
    (source / "cases.csv").write_text("\n".join(rows) + "\n")
    for command in (
        ("import", "table", str(source), "--name", DATASET, "--workers", "1"),
        ("plan", DATASET, "--planner", "small", "--workers", "1"),
        ("preprocess", DATASET, "-c", CONFIGURATION, "--workers", "1"),
    ):
        finished = _run([sys.executable, "-m", "segduet", *command, "--data-root", str(root)], 1)
        assert finished.returncode == 0, finished.stderr
    return root


def _compared(root: Path, dtype: str, balancing: str, *, seed: int, steps: int) -> dict[str, Any]:
    settings = (*BALANCINGS[balancing], f"seed={seed}", f"epochs={steps}", "steps_per_epoch=1")
    losses = {}
    for arm, processes, nudge in (("one", 1, 0.0), ("two", 2, 0.0), ("control", 1, NUDGES[dtype])):
        name = f"{dtype}-{balancing}-{seed}-{arm}"
        if len(_history(root, name)) < steps:
            _train_altered(root, name, settings, processes, dtype=dtype, nudge=nudge)
        losses[arm] = [record["train"] for record in _history(root, name)]
        assert len(losses[arm]) == steps, name
    return {
        "dtype": dtype,
        "balancing": balancing,
        "seed": seed,
        "steps": steps,
        "difference": _furthest(losses["one"], losses["two"]),
        "difference_after_ten_steps": _furthest(losses["one"][:10], losses["two"][:10]),
        "difference_of_control": _furthest(losses["one"], losses["control"]),
        "last_losses": losses["one"][-1],
    }


def _train_altered(
    root: Path, name: str, settings: Sequence[str], processes: int, *, dtype: str, nudge: float
) -> None:
    command = [
        *(sys.executable, *_launcher(processes), str(Path(__file__).with_name("ddp_arm.py"))),
        *(str(root), name, "--dataset", DATASET, "--configuration", CONFIGURATION),
        *("--recipe", RECIPE, "--nudge", str(nudge), "--dtype", dtype),
        *(part for setting in [*FIXED, *settings] for part in ("--set", setting)),
    ]
    finished = _run(command, 1)
    assert finished.returncode == 0, finished.stderr


def _launcher(processes: int) -> list[str]:
    if processes == 1:
        return []
    return ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]


def _furthest(first: Sequence[dict[str, float]], second: Sequence[dict[str, float]]) -> float:
    return max(abs(a[n] - b[n]) for a, b in zip(first, second, strict=True) for n in a)


def _train(root: Path, name: str, recipe: str, settings: Sequence[str], *, arm: str) -> None:
    if (_run_folder(root, name) / "run.json").is_file():
        return
    finished = _run(_command(root, name, recipe, settings, arm=arm), ARMS[arm][1])
    assert finished.returncode == 0, finished.stderr


def _command(
    root: Path, name: str, recipe: str, settings: Sequence[str], *, arm: str, how: str = "overwrite"
) -> list[str]:
    return [
        *(sys.executable, *_launcher(ARMS[arm][0]), "-m", "segduet", "train", DATASET),
        *("-c", CONFIGURATION, "--recipe", recipe, "--name", name, "--device", "cpu"),
        *("--workers", "1", "--data-root", str(root), f"--{how}"),
        *(part for setting in [*FIXED, *settings] for part in ("--set", setting)),
    ]


def _run(command: Sequence[str], threads: int) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=3600, check=False
    )


def _run_folder(root: Path, name: str) -> Path:
    planned = PlannedDataset.open(DataRoot.resolve(root, {}), DATASET)
    return choose_run_folder(planned, trainer=name, configuration=CONFIGURATION, fold="0")


def _history(root: Path, name: str) -> list[dict[str, Any]]:
    file = _run_folder(root, name) / "metrics.jsonl"
    return read_json_lines(file) if file.is_file() else []


def _death(root: Path, number: signal.Signals) -> dict[str, Any]:
    """Kills the second process once five epochs are done; then goes on for one more."""
    name = f"death-{number.name}"
    command = _command(root, name, "default", ["epochs=1000", "steps_per_epoch=1"], arm="two")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as job:
        while len(_history(root, name)) < 5:
            assert job.poll() is None
            time.sleep(0.1)
        members = _descendants(job.pid)
        second = next(pid for pid in members if _environment(pid).get("RANK") == "1")
        killed = time.monotonic()
        os.kill(second, number)
        said = job.communicate(timeout=120)[1]
        seconds = time.monotonic() - killed
    time.sleep(6)  # a loader's process looks for its parent every five seconds
    left = [pid for pid in members if Path(f"/proc/{pid}").exists()]
    done = len(_history(root, name))
    return {
        "signal": number.name,
        "seconds": round(seconds, 1),
        "exit_code": job.returncode,
        "reason": next((x for x in said.splitlines() if "rank 1 ended" in x), ""),
        "processes_left": len(left),
        "epochs_done": done,
        "epochs_after_resume": _resumed(root, name, done),
    }


def _resumed(root: Path, name: str, done: int) -> int:
    """Epochs done once a resumed job has finished two more, or has ended."""
    settings = ["epochs=1000", "steps_per_epoch=1"]
    command = _command(root, name, "default", settings, arm="two", how="resume")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as job:
        while job.poll() is None and len(_history(root, name)) < done + 2:
            time.sleep(0.1)
        job.send_signal(signal.SIGINT)
        job.wait(timeout=120)
    return len(_history(root, name))


def _descendants(parent: int) -> list[int]:
    found = [parent]
    for pid in found:
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            found += [int(child) for child in children.read_text().split()]
    return found[1:]


def _environment(pid: int) -> dict[str, str]:
    content = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
    return dict(entry.split("=", 1) for entry in content.split("\0") if "=" in entry)


def _speed(root: Path) -> dict[str, float]:
    """Samples per second of each arm: 5 epochs of 10 batches of 4, the first one left out."""
    found = {}
    for arm in ARMS:
        name = f"speed-{arm.replace(' ', '-')}"
        _train(root, name, "default", ["epochs=5", "steps_per_epoch=10"], arm=arm)
        seconds = [record["seconds"] for record in _history(root, name)[1:]]
        found[arm] = round(4 * 10 * len(seconds) / sum(seconds), 3)
    return found


if __name__ == "__main__":
    main()
