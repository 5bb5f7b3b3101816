"""Does the head learn a class that only texture tells, and does any run collapse to one class?

Usage: python benchmarks/collapse.py --work DIR [--seeds 0 1 2 3 4] [--jobs 2]

Texture-only pancreas phantoms (all subtypes have one outline, the volume tells nothing), training
classes 16:26:21 (62:106:84), 36 validation cases, for every seed new phantoms and one training per
arm: the head of the default recipe and average pooling of the bottleneck, in the demo's short and
fast training, everything else the same.

Bar (issue 3): case-level macro-F1 of the default head exceeds the bottleneck's by at least 0.10 on
average over 5 seeds, and no run of the default head answers a single class.
Writes docs/results/collapse.json. Finished runs are kept in DIR and not run again.
"""

import argparse
import dataclasses
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from results_file import write_result
from segduet.core.files import read_csv, read_json, write_json
from segduet.core.folders import DataRoot
from segduet.dataset.phantoms.layouts import write_pancreas_quiz
from segduet.dataset.phantoms.parameters import PancreasPhantomConfig
from segduet.evaluation.intervals import mean_estimate
from segduet.training.recipe_files import load_recipe
from segduet.workflows.importing import ImportRequest, import_dataset
from segduet.workflows.preparing import PlanRequest, plan, preprocess
from segduet.workflows.train_request import TrainRequest
from segduet.workflows.training import train

COUNTS = {"train": (16, 26, 21), "validation": (12, 12, 12)}
#: The demo's rates and length, which learn texture in minutes; its final validation is switched on.
RECIPE, CHANGES = "demo", ["precision=bf16", "validation.final=true"]
ARMS = {
    "default": [f"head={load_recipe('default').head.model_dump_json()}"],
    "bottleneck": ["head={kind: bottleneck}"],
}
BAR = 0.10


def main() -> None:
    """Runs every seed and arm and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time, a core each")
    parser.add_argument("--only", choices=ARMS, help="look at one arm and write nothing")
    arguments = parser.parse_args()
    data = {seed: _prepared(arguments.work, seed) for seed in arguments.seeds}
    wanted = [(s, arm) for s in arguments.seeds for arm in ARMS if arguments.only in (None, arm)]
    with ProcessPoolExecutor(
        arguments.jobs, get_context("spawn"), torch.set_num_threads, (1,)
    ) as pool:
        waiting = [pool.submit(_run, data[s], s, arm) for s, arm in wanted]
        runs = [run.result() for run in waiting]
    if arguments.only:
        return
    gains = [
        _macro_f1(runs, seed, "default") - _macro_f1(runs, seed, "bottleneck")
        for seed in arguments.seeds
    ]
    gain = mean_estimate(gains, [str(seed) for seed in arguments.seeds], seed=0)
    collapsed = [run["seed"] for run in runs if run["arm"] == "default" and run["collapsed"]]
    figures = {
        "bars": {"mean_gain_in_macro_f1": BAR, "collapsed_default_runs": 0},
        "recipe": RECIPE,
        "passed": gain.value >= BAR and not collapsed,
        "gain": {"value": gain.value, "ci95": gain.ci95, "n": gain.n, "unit": "seeds"},
        "collapsed_default_runs": collapsed,
        "runs": runs,
    }
    print(write_result("collapse", seeds=arguments.seeds, figures=figures), figures["passed"])


def _prepared(work: Path, seed: int) -> tuple[DataRoot, str]:
    folder, name = work / f"seed{seed}", "Dataset503_texture_phantoms"
    root = DataRoot.resolve(folder, {})
    if not (root.raw / name).is_dir():
        config = dataclasses.replace(PancreasPhantomConfig.demo(), subtype_signal="texture")
        source = folder / "phantoms"
        write_pancreas_quiz(source, config, counts=COUNTS, num_test=0, seed=seed, workers=2)
        import_dataset(root, ImportRequest(layout="quiz", source=source, name=name, workers=2))
    plan(root, PlanRequest(dataset=name, planner="small", hold_out_validation=True, workers=2))
    preprocess(root, name, "3d_fullres", workers=2)
    return root, name


def _run(data: tuple[DataRoot, str], seed: int, arm: str) -> dict[str, Any]:
    root, name = data
    kept = root.results.parent / f"{arm}.json"
    if kept.is_file():
        return dict(read_json(kept))
    manifest = train(
        root,
        TrainRequest(
            dataset=name,
            recipe=load_recipe(RECIPE, [*CHANGES, f"seed={seed}", *ARMS[arm]]),
            name=arm,
            device="cpu",
            overwrite=True,
        ),
    )
    summary = manifest.outcome["validation"]
    answers = Path(manifest.outcome["run_folder"]) / "validation" / "predictions.csv"
    predicted = Counter(row["subtype"] for row in read_csv(answers)[1])
    run = {
        "seed": seed,
        "arm": arm,
        "macro_f1": summary["classification"]["subtype"]["macro_f1"],
        "lesion_dsc": summary["segmentation"]["lesion"]["dsc"],
        "baselines_macro_f1": {
            kind: baseline["classification"]["subtype"]["macro_f1"]["value"]
            for kind, baseline in summary["baselines"].items()
        },
        "predicted": dict(predicted),
        "collapsed": len(predicted) == 1,
        "minutes": round(manifest.seconds / 60, 1),
    }
    write_json(kept, run)
    print(run, flush=True)
    return run


def _macro_f1(runs: list[dict[str, Any]], seed: int, arm: str) -> float:
    return next(
        float(run["macro_f1"]["value"]) for run in runs if (run["seed"], run["arm"]) == (seed, arm)
    )


if __name__ == "__main__":
    main()
