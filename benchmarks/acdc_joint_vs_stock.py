"""Does the joint model segment as well as stock nnU-Net? ACDC small, same plan, fold, iterations.

Usage: python benchmarks/acdc_joint_vs_stock.py --work DIR --stock-root DIR

Compares the masks of `real_data.py acdc` (DIR of --work) with those of `stock_arm.py` (DATA_ROOT of
--stock-root), both on the 20 `val` volumes with mirroring. The plans must agree. Paired per case,
interval by resampling patients. Writes docs/results/acdc_joint_vs_stock.json.
"""

import argparse
from pathlib import Path

from results_file import write_result
from road import ACDC
from segduet.core.files import read_json
from segduet.core.folders import DataRoot
from segduet.evaluation.cohort import mean_foreground_dsc
from segduet.evaluation.evaluate import evaluate_folder
from segduet.evaluation.intervals import mean_estimate, paired_difference
from segduet.workflows.planned_dataset import PlannedDataset
from segduet.workflows.reference_dataset import ReferenceDataset

PLANS = "segduetSmallPlans"
BAR = -0.01
STOCK_ITERATIONS = 2000
_COMPARED = ("patch_size", "batch_size", "spacing", "architecture", "batch_dice")


def main() -> None:
    """Compares and writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--stock-root", type=Path, required=True)
    parser.add_argument("--trainer", default="segduet_default", help="run folder's first part")
    parser.add_argument("--result", default="acdc_joint_vs_stock", help="name of the result")
    arguments = parser.parse_args()
    root = DataRoot.resolve(arguments.work, {})
    run = f"{PLANS}__{ACDC.configuration}/fold_0"
    joint_run = root.results / ACDC.full_name / f"{arguments.trainer}__{run}"
    stock_run = arguments.stock_root / "nnUNet_results" / ACDC.full_name / f"nnUNetTrainer__{run}"
    _require_same_plan(root, stock_run)
    dataset = ReferenceDataset.open(root, ACDC.full_name)
    cases = PlannedDataset.open(root, ACDC.full_name).fold("0").val
    references = dataset.references()
    values, patients = {}, []
    for arm, folder in {"joint": joint_run, "stock": stock_run}.items():
        scores = evaluate_folder(
            references, folder / "validation", answers={}, cases=cases, workers=2
        )
        patients = [s.patient for s in scores]
        values[arm] = [mean_foreground_dsc(s, references.labels).value for s in scores]
    difference = paired_difference(values["stock"], values["joint"], patients, seed=0)
    record = read_json(joint_run / "run.json")
    figures = {
        "bar": f"joint minus stock >= {BAR}",
        "passed": difference.value >= BAR,
        "mean_foreground_dsc": {
            arm: _figure(mean_estimate(found, patients, seed=0)) for arm, found in values.items()
        },
        "joint_minus_stock": _figure(difference),
        "cases": dict(zip(cases, zip(values["joint"], values["stock"], strict=True), strict=True)),
        "iterations": {
            "joint": record["recipe"]["epochs"] * record["recipe"]["steps_per_epoch"],
            "stock": STOCK_ITERATIONS,
        },
        "recipe": record["recipe"],
        "selected_from": 1,
        "joint_cpu_minutes": round(record["seconds"]["cpu"] / 60, 1),
    }
    target = write_result(arguments.result, seeds=[record["seed"]], figures=figures)
    print(f"written: {target}: {figures['joint_minus_stock']}")


def _figure(estimate: object) -> dict[str, object]:
    return {"value": estimate.value, "ci95": estimate.ci95, "n": estimate.n}


def _require_same_plan(root: DataRoot, stock_run: Path) -> None:
    ours = read_json(root.preprocessed / ACDC.full_name / f"{PLANS}.json")
    stock = read_json(stock_run.parent / "plans.json")
    for key in _COMPARED:
        a, b = (p["configurations"][ACDC.configuration][key] for p in (ours, stock))
        if a != b:
            raise SystemExit(f"the plans differ in {key}: {a} and {b}")


if __name__ == "__main__":
    main()
