"""Does a narrow student learn more from a mirrored teacher than from the labels alone?

Usage: python benchmarks/distillation.py --work DIR [--seeds 0 1 2] [--width 0.5]

DIR holds the demonstrations of `demo_seeds.py` (`demo-0`, ...); one that is missing is run. Their
model teaches, mirrored. Both students have the demo's recipe and `width` of its features, start
alike and see the same windows; one hears the teacher too, by the default settings.
All are judged on the demo's unseen cases, students without mirroring; figures are paired by case
over all seeds, intervals resample cases. What is finished is not done again: go on by calling the
same again. Writes docs/results/distillation.json.

Bar (F70): the distilled student's mean foreground DSC is not below the other's, nor its macro-F1.
"""

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from results_file import write_result
from segduet.core.files import read_json
from segduet.core.folders import DataRoot
from segduet.core.scores import CaseScores, Estimate
from segduet.evaluation.classification import collect_answers
from segduet.evaluation.cohort import mean_foreground_dsc
from segduet.evaluation.intervals import mean_estimate, paired_difference, statistic_estimate
from segduet.evaluation.measures import task_measures
from segduet.evaluation.scores_file import read_scores
from segduet.training.loop import CHECKPOINT
from segduet.training.recipe_files import load_recipe
from segduet.workflows.demo import DemoRequest, demo
from segduet.workflows.evaluation import EvaluateRequest, evaluate
from segduet.workflows.load_request import LoadRequest
from segduet.workflows.models import MODEL_FILE
from segduet.workflows.planned_dataset import PlannedDataset
from segduet.workflows.prediction import predict
from segduet.workflows.prediction_request import PredictRequest
from segduet.workflows.reference_dataset import ReferenceDataset
from segduet.workflows.run_record import RUN_RECORD
from segduet.workflows.train_request import TrainRequest
from segduet.workflows.training import train

DATASET, CONFIGURATION = "Dataset501_pancreas_phantoms", "3d_fullres"
TEACHER, PLANS = "segduet_demo", "segduetSmallPlans"
ALONE, DISTILLED = "student_alone", "student_distilled"


def main() -> None:
    """Runs what is missing and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--width", type=float, default=0.5)
    arguments = parser.parse_args()
    arms: dict[str, list[CaseScores]] = {TEACHER: [], ALONE: [], DISTILLED: []}
    runs: list[dict[str, Any]] = []
    for seed in arguments.seeds:
        root = _demonstration(arguments.work / f"demo-{seed}", seed)
        for arm, pooled in arms.items():
            run = _trained(root, arm, seed, arguments.width)
            scores = _scores(root, run, arm)
            pooled += [_of_seed(case, seed) for case in scores]
            runs.append({"seed": seed, "arm": arm, **_figures(root, scores), **_cost(run)})
            print(runs[-1], flush=True)
    root = DataRoot.resolve(arguments.work / f"demo-{arguments.seeds[0]}" / "segduet-data", {})
    differences = _differences(root, arms[ALONE], arms[DISTILLED])
    figures = {
        "bar": "distilled minus alone >= 0 for mean foreground DSC and macro-F1",
        "passed": all(
            differences[name]["value"] >= 0 for name in ("mean_foreground_dsc", "macro_f1")
        ),
        "width_factor": arguments.width,
        "distilled_minus_alone": differences,
        "pooled": {arm: _figures(root, scores) for arm, scores in arms.items()},
        "runs": runs,
        "selected_from": 1,
    }
    print(write_result("distillation", seeds=arguments.seeds, figures=figures), differences)


def _demonstration(out: Path, seed: int) -> DataRoot:
    """Data root of a finished demonstration; one that was interrupted is begun anew."""
    if not (out / "manifest.json").is_file():
        shutil.rmtree(out, ignore_errors=True)
        demo(DemoRequest(out=out, seed=seed))
    return DataRoot.resolve(out / "segduet-data", {})


def _trained(root: DataRoot, arm: str, seed: int, width: float) -> Path:
    """Run folder of an arm, trained where it is not finished."""
    run = root.results / DATASET / f"{arm}__{PLANS}__{CONFIGURATION}" / "fold_0"
    if (run / MODEL_FILE).is_file() and (run / RUN_RECORD).is_file():
        return run
    changes = [f"seed={seed}", f"network.width_factor={width}"]
    if arm == DISTILLED:
        teacher = run.parent.parent / f"{TEACHER}__{PLANS}__{CONFIGURATION}"
        changes += ["distillation.kind=teacher", f"distillation.teacher={teacher}"]
    request = TrainRequest(
        dataset=DATASET,
        configuration=CONFIGURATION,
        recipe=load_recipe("demo", changes),
        name=arm,
        device="cpu",
        resume=(run / CHECKPOINT).is_file(),
    )
    train(root, request, lambda p: print(p.line, flush=True) if p.step % 50 == 0 else None)
    return run


def _scores(root: DataRoot, run: Path, arm: str) -> list[CaseScores]:
    """Scores of the unseen cases; the teacher mirrors as it did when it taught."""
    predictions, evaluation = run / "unseen", run / "evaluation"
    dataset = ReferenceDataset.open(root, DATASET)
    if not (evaluation / "scores.csv").is_file():
        shutil.rmtree(predictions, ignore_errors=True)
        images, unseen = dataset.image_files(), PlannedDataset.open(root, DATASET).fold("0").val
        loading = LoadRequest(model=run, engine="torch", device="cpu", mirrored=arm == TEACHER)
        inputs = [path for case in unseen for path in images[case]]
        predict(PredictRequest(loading=loading, inputs=inputs, out=predictions))
        request = EvaluateRequest(
            reference=DATASET, predictions=predictions, out=evaluation, fold="0", workers=2
        )
        evaluate(root, request)
    return read_scores(evaluation / "scores.csv", dataset.description.tasks)


def _of_seed(case: CaseScores, seed: int) -> CaseScores:
    """Every seed has phantoms of its own, whatever they are called."""
    return CaseScores(
        case=f"{seed}:{case.case}",
        patient=f"{seed}:{case.patient}",
        segmentation=case.segmentation,
        volumes_ml=case.volumes_ml,
        answers=case.answers,
    )


def _dsc(root: DataRoot, scores: Sequence[CaseScores]) -> list[float]:
    labels = ReferenceDataset.open(root, DATASET).description.label_scheme
    return [float(mean_foreground_dsc(case, labels).value or 0.0) for case in scores]


def _macro_f1(root: DataRoot, scores: Sequence[CaseScores]) -> Any:
    """Macro-F1 as a function of how often each case counts."""
    (task,) = ReferenceDataset.open(root, DATASET).description.tasks
    answers = collect_answers(scores, task)
    return task_measures(task, answers.reference, answers.probabilities).overall["macro_f1"]


def _figures(root: DataRoot, scores: Sequence[CaseScores]) -> dict[str, Any]:
    patients = [case.patient for case in scores]
    measure = _macro_f1(root, scores)
    return {
        "mean_foreground_dsc": _plain(mean_estimate(_dsc(root, scores), patients, seed=0)),
        "macro_f1": float(measure.statistic(np.ones(len(scores)))),
    }


def _differences(
    root: DataRoot, alone: Sequence[CaseScores], distilled: Sequence[CaseScores]
) -> dict[str, Any]:
    assert [case.case for case in alone] == [case.case for case in distilled]
    patients = [case.patient for case in alone]
    before, after = _macro_f1(root, alone), _macro_f1(root, distilled)
    f1 = statistic_estimate(
        lambda weights: after.statistic(weights) - before.statistic(weights),
        patients,
        seed=0,
        undefined=before.undefined,
    )
    dsc = paired_difference(_dsc(root, alone), _dsc(root, distilled), patients, seed=0)
    return {"mean_foreground_dsc": _plain(dsc), "macro_f1": _plain(f1)}


def _plain(estimate: Estimate) -> dict[str, Any]:
    return {"value": estimate.value, "ci95": estimate.ci95, "n": estimate.n}


def _cost(run: Path) -> dict[str, Any]:
    record = read_json(run / RUN_RECORD)
    teacher = record.get("teacher") or {}
    return {
        "num_parameters": record["num_parameters"],
        "training_cpu_minutes": round(record["seconds"]["cpu"] / 60, 1),
        "teacher_passes_per_window": teacher.get("passes_per_window", 0),
        "recipe": record["recipe"],
    }


if __name__ == "__main__":
    main()
