"""A study whose workers and runners are killed at random, beside the same study left in peace.

    python benchmarks/study_kills.py --work /tmp/kills
    python benchmarks/study_kills.py --work /tmp/kills-ray --engine ray

Bar (issue 6): every unit is done exactly once, and weights and scores are those of the undisturbed
study, bit for bit. Killed are, with SIGKILL and at random times: the runner (or the driver of Ray),
the processes in which Ray runs units, and the commands of the units. What is left goes on until the
next kill; a runner that is gone or has ended with failures is started again.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import yaml
from safetensors import safe_open

from results_file import write_result
from segduet.core.files import read_json_lines
from segduet.dataset.phantoms.layouts import write_nerve_folders
from segduet.dataset.phantoms.ultrasound import NerveUltrasoundConfig
from segduet.scale.expansion import expand
from segduet.scale.state import StudyState
from segduet.scale.study import Study, load_study
from segduet.scale.unit import WorkUnit

SEGDUET = (sys.executable, "-m", "segduet")
RECIPES = ("default", "nnunet-sgd", "seed-two-phase")
#: As short as a training can be and still have epochs to stop between.
SETTINGS = {
    "epochs": 3,
    "steps_per_epoch": 3,
    "head.hidden": [8],
    "precision": "fp32",
    "validation.patches_per_epoch": 2,
    "details_every": 0,
}
#: Differ between two runs of the same training.
_TIMES = {"seconds", "started", "pauses", "paused_seconds", "pid", "host", "time"}


def main() -> None:
    """Runs the study twice and writes `docs/results/study_kills[_ENGINE].json`."""
    options = _options()
    calm, killed = (_prepared(options, name) for name in ("calm", "killed"))
    subprocess.run([*SEGDUET, "run", str(calm.source), "--jobs", "2"], check=True)
    started = time.monotonic()
    tally = _disturbed(killed, options)
    seconds = time.monotonic() - started
    units = expand(killed)
    time.sleep(2)
    figures = {
        "engine": options.engine,
        "units": len(units),
        "folds": options.folds,
        "recipes": list(RECIPES[: options.recipes]),
        "mean_seconds_between_kills": options.every,
        "kills": dict(tally),
        "seconds_disturbed": round(seconds, 1),
        "units_with_one_marker": _num_done(killed),
        **_journal_figures(killed, units),
        "models_compared": len(units),
        "models_that_differ": _different_models(calm, killed),
        "scores_that_differ": _different_scores(calm, killed),
        "processes_left": len(_processes_of(killed)),
    }
    print(json.dumps(figures, indent=2))
    name = "study_kills" if options.engine == "local" else f"study_kills_{options.engine}"
    print(write_result(name, seeds=[options.seed], figures=figures))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="empty or absent folder")
    parser.add_argument("--engine", choices=("local", "ray"), default="local")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--recipes", type=int, default=3, choices=(1, 2, 3))
    parser.add_argument("--every", type=float, default=6.0, help="mean seconds between kills")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def _prepared(options: argparse.Namespace, name: str) -> Study:
    """A study on phantoms in a folder of its own; both folders hold the same data."""
    folder, first = options.work / name, options.work / "calm"
    if folder == first:
        _write_dataset(folder, options.folds)
        content = {
            "name": "kills",
            "dataset": "nerves",
            "configurations": ["2d"],
            "folds": list(range(options.folds)),
            "recipes": list(RECIPES[: options.recipes]),
            "set": SETTINGS,
            "train": {"device": "cpu", "workers": 0},
        }
        (folder / "STUDY.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    else:
        shutil.copytree(first, folder)
    return load_study(folder / "STUDY.yaml")


def _write_dataset(folder: Path, num_folds: int) -> None:
    config = replace(NerveUltrasoundConfig.demo(), shape_yx=(32, 32))
    write_nerve_folders(
        folder / "table", config, num_patients=10, images_per_patient=2, seed=0, workers=1
    )
    root = ("--data-root", str(folder / "segduet-data"), "--workers", "1")
    for command in (
        ("import", "nerve", str(folder / "table"), "--name", "nerves"),
        ("plan", "nerves", "--planner", "small", "--folds", str(num_folds)),
        ("preprocess", "nerves", "-c", "2d"),
    ):
        subprocess.run([*SEGDUET, *command, *root], check=True)


def _disturbed(study: Study, options: argparse.Namespace) -> Counter[str]:
    """Runs the study to its end, killing on the way; counts what was killed."""
    rng = random.Random(options.seed)  # noqa: S311 - no secret
    tally = Counter[str]()
    while _num_done(study) < len(expand(study)):
        runner = _start(study, options.engine)
        tally["runners_started"] += 1
        while runner.poll() is None:
            _wait(runner, rng.expovariate(1 / options.every))
            if runner.poll() is None:
                tally[_kill_one(study, runner, rng)] += 1
    return tally


def _start(study: Study, engine: str) -> subprocess.Popen[bytes]:
    arguments = {
        "local": ("run", str(study.source), "--jobs", "2", "--retry-failed"),
        "ray": ("submit", "ray", str(study.source), "--num-cpus", "2", "--retry-failed"),
    }
    return subprocess.Popen([*SEGDUET, *arguments[engine]])


def _wait(runner: subprocess.Popen[bytes], seconds: float) -> None:
    try:
        runner.wait(seconds)
    except subprocess.TimeoutExpired:
        return


def _kill_one(study: Study, runner: subprocess.Popen[bytes], rng: random.Random) -> str:
    """Kills the runner or any process that works for the study; says which kind."""
    pid = rng.choice(sorted({runner.pid, *_processes_of(study), *_ray_workers(runner)}))
    words = _command_line(pid)
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return "was_gone_already"
    kind = next((w for w in ("train", "run", "submit") if w in words), "ray_worker")
    return f"{kind}_killed"


def _ray_workers(runner: subprocess.Popen[bytes]) -> list[int]:
    """Processes in which Ray runs a unit, by whose name it calls them, below the driver."""
    try:
        below = psutil.Process(runner.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return [p.pid for p in below if "".join(_command_line(p.pid)).startswith("ray::train-")]


def _processes_of(study: Study) -> list[int]:
    """Live processes with the study's folder among their arguments."""
    folder = str(study.source.parent)
    numbers = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    return [
        number
        for number in numbers
        if number != os.getpid()
        and "segduet" in (words := _command_line(number))
        and any(folder in word for word in words)
    ]


def _command_line(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []


def _num_done(study: Study) -> int:
    markers = StudyState.of(study).markers
    return sum(markers.is_done(unit) for unit in expand(study))


def _journal_figures(study: Study, units: tuple[WorkUnit, ...]) -> dict[str, Any]:
    """How often units were begun and done; a start after the end would be work done twice."""
    entries = read_json_lines(study.out_folder / "journal.jsonl")
    done, starts, starts_after_done = Counter[str](), Counter[str](), 0
    for entry in entries:
        name = entry["unit"]
        done[name] += entry["happening"] == "done"
        starts[name] += entry["happening"] == "started"
        starts_after_done += entry["happening"] == "started" and done[name] > 0
    return {
        "starts": sum(starts.values()),
        "units_done_more_than_once": sum(done[unit.name] > 1 for unit in units),
        # killed between the marker and its line in the journal
        "units_done_without_a_journal_line": sum(done[unit.name] == 0 for unit in units),
        "starts_after_done": starts_after_done,
    }


def _different_models(calm: Study, killed: Study) -> list[str]:
    pairs = zip(expand(calm), expand(killed), strict=True)
    return [ours.name for ours, theirs in pairs if not _same_tensors(ours, theirs)]


def _same_tensors(ours: WorkUnit, theirs: WorkUnit) -> bool:
    first, second = (dict(_tensors(unit.outputs[0])) for unit in (ours, theirs))
    return bool(first) and first == second


def _tensors(file: Path) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Every tensor with its kind, shape and bytes."""
    with safe_open(file, framework="numpy") as stream:
        for name in stream.keys():  # noqa: SIM118 - no dictionary
            tensor = stream.get_tensor(name)
            yield name, (str(tensor.dtype), tensor.shape, tensor.tobytes())


def _different_scores(calm: Study, killed: Study) -> list[str]:
    """Files of scores and histories that differ in more than times and folders."""
    different = []
    for ours, theirs in zip(expand(calm), expand(killed), strict=True):
        for name in ("metrics.jsonl", "validation/summary.json", "validation/scores.csv"):
            first, second = (unit.outputs[0].parent / name for unit in (ours, theirs))
            if _content(first) != _content(second):
                different.append(f"{ours.name}: {name}")
    return different


def _content(file: Path) -> Any:
    if file.suffix == ".jsonl":
        return [_without_times(line) for line in read_json_lines(file)]
    text = file.read_text(encoding="utf-8")
    return _without_times(json.loads(text)) if file.suffix == ".json" else text


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_times(v) for k, v in value.items() if k not in _TIMES}
    return [_without_times(v) for v in value] if isinstance(value, list) else value


if __name__ == "__main__":
    main()
