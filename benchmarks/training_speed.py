"""Training steps on a CPU: `segduet train` against stock nnUNetTrainer.

Usage: python benchmarks/training_speed.py --data-root FOLDER [--dataset NAME] [--plans NAME]
       [--configuration NAME] [--rounds N] [--steps N] [--quick]

Both train fold 0 of one dataset that `segduet preprocess` has prepared: the same plan, batch,
augmentation (nnU-Net's), optimiser (SGD) and one process that makes patches. A run is a fresh
process that trains a few steps; what counts is the median time from step to step, waiting for
patches included, after the first steps. The runs of a round take turns (ABBA), and a ratio is of
runs of the same round. `cpu_seconds` are those of all threads of the process that trains, which
other programs disturb less.

`stock` is nnU-Net's own trainer and loop (one network output per resolution, no classes).
`segmentation` is the same network in ours (recipe nnunet-sgd, answers=segmentation), `joint` has a
head for every task of the dataset besides. `measured` is what compute=measured takes for a training
of 50,000 steps, which is found once, with nothing compiled before; its rounds run that choice, and
are left out where it is what is computed without measuring.

Writes docs/results/training_speed.json (not with --quick).
"""

import argparse
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from results_file import write_result
from segduet.core.files import read_json, write_json
from segduet.core.folders import DataRoot
from segduet.workflows.bench_process import run_fresh

SEED = 0
#: Asked of `segmentation` (fixed): stock's step over ours.
BAR = 1.9
ANSWERS = ("segmentation", "joint")
#: Steps before those that count: memory is reserved, programs are compiled, patches are ahead.
NUM_FIRST_STEPS = 4
#: Length of the training that compute=measured chooses for.
NUM_STEPS = 50_000


def _now() -> tuple[float, float]:
    """The time of day, and the time all threads of this process have computed."""
    return time.perf_counter(), time.process_time()


def stock_steps(arguments: argparse.Namespace, results: Path) -> dict[str, Any]:
    """Seconds of the steps of nnU-Net's own loop."""
    folders = {"raw": arguments.data_root / "nnUNet_raw", "results": results}
    folders["preprocessed"] = arguments.data_root / "nnUNet_preprocessed"
    for name, folder in folders.items():
        os.environ[f"nnUNet_{name}"] = str(folder)
    os.environ["nnUNet_n_proc_DA"] = "1"  # noqa: SIM112 - nnU-Net spells it so
    import torch
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    folder = folders["preprocessed"] / arguments.dataset
    plans = json.loads((folder / f"{arguments.plans}.json").read_text())
    trainer = nnUNetTrainer(
        plans={**plans, "continue_training": False},
        configuration=arguments.configuration,
        fold=0,
        dataset_json=json.loads((folder / "dataset.json").read_text()),
        device=torch.device("cpu"),
    )
    trainer.on_train_start()
    trainer.on_epoch_start()
    trainer.on_train_epoch_start()
    moments = [_now()]
    for _ in range(arguments.steps + NUM_FIRST_STEPS):
        trainer.train_step(next(trainer.dataloader_train))
        moments.append(_now())
    for loader in (trainer.dataloader_train, trainer.dataloader_val):
        loader._finish()
    return {"moments": moments, "threads": torch.get_num_threads()}


def our_steps(arguments: argparse.Namespace, results: Path) -> dict[str, Any]:
    """Moments of the steps of `segduet train`, and how it computed them."""
    from segduet.training.recipe_files import load_recipe
    from segduet.workflows.train_request import TrainRequest
    from segduet.workflows.training import train

    quiet = ["validation.patches_per_epoch=0", "validation.final=false", "details_every=0"]
    request = TrainRequest(
        dataset=arguments.dataset,
        configuration=arguments.configuration,
        plans=arguments.plans,
        recipe=load_recipe("nnunet-sgd", [*quiet, *arguments.set]),
        device="cpu",
        until_epoch=1,
    )
    root = DataRoot(
        raw=arguments.data_root / "nnUNet_raw",
        preprocessed=arguments.data_root / "nnUNet_preprocessed",
        results=results,
    )
    moments: list[tuple[float, float]] = []
    manifest = train(root, request, lambda _: moments.append(_now()))
    record = read_json(Path(manifest.outcome["run_folder"]) / "run.json")
    kept = ("precision", "compiled", "compute_trials", "threads", "num_parameters")
    return {"moments": moments, **{key: record[key] for key in kept}}


class Runs:
    """Runs arms, each in a fresh process."""

    def __init__(self, arguments: argparse.Namespace, folder: Path) -> None:
        self._arguments, self._folder, self._count = arguments, folder, 0
        self.steps: int = arguments.steps

    def run(self, arm: str, *settings: str) -> dict[str, Any]:
        """What the arm found, with `step_seconds` and what other processes used meanwhile."""
        self._count += 1
        folder = self._folder / f"{self._count:03d}_{arm}"
        folder.mkdir()
        given = self._arguments
        command = [sys.executable, __file__, "--arm", arm, "--out", str(folder / "found.json")]
        for name in ("data_root", "dataset", "plans", "configuration", "steps"):
            command += [f"--{name.replace('_', '-')}", str(getattr(given, name))]
        command += [f"--set={setting}" for setting in settings]
        sample = run_fresh(command, folder, cores=None, who=arm)
        found: dict[str, Any] = read_json(folder / "found.json")
        moments = found.pop("moments")[NUM_FIRST_STEPS:]
        steps = [(b[0] - a[0], b[1] - a[1]) for a, b in itertools.pairwise(moments)]
        found |= {
            "step_seconds": statistics.median(wall for wall, _ in steps),
            "step_cpu_seconds": statistics.median(cpu for _, cpu in steps),
            "peak_rss_mb": sample.peak_rss_mb,
            "other_cpu_s": sample.other_cpu_s,
        }
        print(f"{arm}: {found['step_seconds']:.3f} s", *settings, flush=True)
        return found


def choices(runs: Runs) -> dict[str, dict[str, Any]]:
    """What compute=measured takes for a long training, by answers."""
    found = {}
    for answers in ANSWERS:
        settings = (f"answers={answers}", *_length(runs.steps), "compute=measured")
        found[answers] = runs.run(f"{answers}_choice", *settings)
    return found


def _length(steps: int) -> tuple[str, str]:
    """A long training, of which the first epoch is run."""
    per_epoch = steps + NUM_FIRST_STEPS
    return f"epochs={NUM_STEPS // per_epoch}", f"steps_per_epoch={per_epoch}"


def arms(arguments: argparse.Namespace, chosen: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Arm -> settings of its recipe."""
    found: dict[str, tuple[str, ...]] = {"stock": ()}
    for answers in ANSWERS:
        common = (f"answers={answers}", *_length(arguments.steps))
        found[f"{answers}_fixed"] = common
        choice = chosen[answers]
        if (choice["precision"], choice["compiled"]) == _fixed_choice():
            continue
        computes = f"precision={choice['precision']}", f"compile={str(choice['compiled']).lower()}"
        found[f"{answers}_measured"] = (*common, *computes)
    return found


def _fixed_choice() -> tuple[str, bool]:
    from segduet.training.devices import choose_compute

    return choose_compute("cpu", "auto").precision, False


def rounds(arguments: argparse.Namespace, runs: Runs, chosen: Mapping[str, Any]) -> list[Any]:
    """Arm -> figures, of every round."""
    wanted = arms(arguments, chosen)
    found = []
    for number in range(arguments.rounds):
        order = list(wanted) if number % 2 == 0 else list(reversed(wanted))
        found.append({arm: runs.run(arm, *wanted[arm]) for arm in order})
    return found


def figures(found: Sequence[Mapping[str, Any]], chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Medians and ranges over the rounds."""
    by_arm = _by_arm(found, "step_seconds")
    speed_up = _speed_up(by_arm)
    return {
        "bar": BAR,
        "bar_is_met": speed_up["segmentation_fixed"]["median"] >= BAR,
        "speed_up_over_stock": speed_up,
        "step_seconds": {arm: _summary(values) for arm, values in by_arm.items()},
        "speed_up_in_cpu_seconds": _speed_up(_by_arm(found, "step_cpu_seconds")),
        "peak_rss_mb": {a: statistics.median(v) for a, v in _by_arm(found, "peak_rss_mb").items()},
        "other_cpu_s": _by_arm(found, "other_cpu_s"),
        "threads": found[0]["stock"]["threads"],
        "measured_choices": {
            answers: {key: choice[key] for key in ("precision", "compiled", "compute_trials")}
            for answers, choice in chosen.items()
        },
    }


def _by_arm(found: Sequence[Mapping[str, Any]], figure: str) -> dict[str, list[float]]:
    return {arm: [one[arm][figure] for one in found] for arm in sorted(found[0])}


def _speed_up(by_arm: Mapping[str, Sequence[float]]) -> dict[str, dict[str, Any]]:
    """Stock's time over every other arm's, by rounds."""
    return {
        arm: _summary([s / o for s, o in zip(by_arm["stock"], values, strict=True)])
        for arm, values in by_arm.items()
        if arm != "stock"
    }


def _summary(values: Sequence[float]) -> dict[str, Any]:
    return {
        "median": statistics.median(values),
        "range": [min(values), max(values)],
        "n": len(values),
    }


def main() -> None:
    """Runs one arm, or all of them."""
    arguments = _arguments()
    if arguments.arm:
        _run_arm(arguments)
        return
    if arguments.quick:
        arguments.rounds, arguments.steps = 1, 2
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder / "compiled")
        runs = Runs(arguments, folder)
        chosen = choices(runs)
        found = figures(rounds(arguments, runs, chosen), chosen)
    setting = ("dataset", "plans", "configuration", "steps", "rounds")
    found["setting"] = {name: getattr(arguments, name) for name in setting}
    print(json.dumps(found, indent=2))
    if not arguments.quick:
        print(write_result("training_speed", seeds=[SEED], figures=found))


def _run_arm(arguments: argparse.Namespace) -> None:
    steps: Callable[[argparse.Namespace, Path], dict[str, Any]]
    steps = stock_steps if arguments.arm == "stock" else our_steps
    with redirect_stdout(sys.stderr):
        found = steps(arguments, arguments.out.parent / "results")
    write_json(arguments.out, found)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--dataset", default="Dataset301_acdc_small")
    parser.add_argument("--plans", default="segduetSmallPlans")
    parser.add_argument("--configuration", default="3d_fullres")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=7)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--arm", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--set", action="append", default=[], help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
