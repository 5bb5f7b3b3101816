"""Joint training on real data: `acdc_small` (3D) and `busi_256` (2D), fold = the table's split.

Usage: python benchmarks/real_data.py {acdc|busi} --data ../shared/data --work DIR [--set key=value]

Trains on split `train`, scores split `val` (never used for any choice: the recipe selects nothing),
states CPU minutes, and writes docs/results/real_<name>.json.
"""

import argparse
from pathlib import Path

from results_file import write_result
from road import ACDC, BUSI, prepare, train_and_score
from segduet.core.files import read_json
from segduet.core.folders import DataRoot

DEFAULTS = {
    "acdc": (ACDC, ["epochs=20", "steps_per_epoch=100"]),
    "busi": (BUSI, ["epochs=10", "steps_per_epoch=100"]),
}


def main() -> None:
    """Runs one dataset."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=sorted(DEFAULTS))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--recipe", default="default")
    parser.add_argument("--result", help="name of the result; default: real_<name>")
    parser.add_argument("--set", action="append", default=[], dest="changes")
    arguments = parser.parse_args()
    dataset, settings = DEFAULTS[arguments.name]
    root = DataRoot.resolve(arguments.work, {})
    prepare(root, arguments.data, dataset)
    out = arguments.work / f"evaluation_{arguments.name}"
    run_folder, summary = train_and_score(
        root, dataset, arguments.recipe, [*settings, *arguments.changes], out
    )
    record = read_json(run_folder / "run.json")
    target = write_result(
        arguments.result or f"real_{arguments.name}",
        seeds=[record["seed"]],
        figures={
            "dataset": dataset.folder,
            "train_cases": len(record["train_cases"]),
            "validation_cases": len(record["validation_cases"]),
            "recipe": record["recipe"],
            "precision": record["precision"],
            "cpu_minutes": round(record["seconds"]["cpu"] / 60, 1),
            "wall_minutes": round(record["seconds"]["wall"] / 60, 1),
            "summary": summary,
        },
    )
    print(f"written: {target}")


if __name__ == "__main__":
    main()
