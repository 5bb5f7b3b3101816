"""What 8 bits lose on trained models, and what they gain per window (F68, B14).

Usage: python benchmarks/int8_accuracy.py NAME=MODEL=DATASET ... --data-root DIR

For every model: quantised as `segduet export --precision int8` does it, calibrated on training
cases of the dataset and compared with the same networks in fp32 on its validation fold, without
mirroring. Bounds are wide open, so that what the gate would refuse is recorded too. Times are of
one window of the plan's patch size on OpenVINO, precisions in turn. Writes
docs/results/int8_accuracy.json.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from results_file import write_result
from segduet.core.folders import DataRoot
from segduet.core.runtime import RuntimeFormat
from segduet.evaluation.gate_report import GateBounds, GateReport
from segduet.inference.bundles.opening import Bundle, open_bundle_folder
from segduet.inference.bundles.writing import BundleExtras
from segduet.inference.engines.openvino_engine import open_openvino
from segduet.workflows.conversion import convert_model
from segduet.workflows.int8_export import Int8Request, write_int8_bundle
from segduet.workflows.models import ModelFolder, open_model

_OPEN = GateBounds(max_dsc_loss=1, max_macro_f1_loss=1, min_dice=0, min_agreement=0)
_ROUNDS = 20


def main() -> None:
    """Measures every model named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", metavar="NAME=MODEL=DATASET")
    parser.add_argument("--data-root", type=Path, required=True)
    arguments = parser.parse_args()
    root = DataRoot.resolve(arguments.data_root, {})
    figures = {}
    for entry in arguments.models:
        name, model, dataset = entry.split("=")
        figures[name] = _measure(open_model(Path(model)), dataset, root)
    print(f"written: {write_result('int8_accuracy', seeds=[0], figures=figures)}")


def _measure(folder: ModelFolder, dataset: str, root: DataRoot) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as temporary:
        exact, eight = Path(temporary) / "fp32", Path(temporary) / "int8"
        for target in (exact, eight):
            target.mkdir()
        convert_model(folder, RuntimeFormat.OPENVINO, exact)
        report = write_int8_bundle(
            folder,
            eight,
            Int8Request(calibration=dataset, root=root, bounds=_OPEN),
            extras=BundleExtras(),
            say=print,
        )
        bundles = [open_bundle_folder(made, verify=False) for made in (exact, eight)]
        return {
            "dataset": folder.plan.dataset_name,
            "held_cases": report.n,
            "passes_default_bounds": _passes(report, GateBounds()),
            "report": report.model_dump(mode="json", exclude={"bounds", "reasons", "passed"}),
            "megabytes": dict(zip(("fp32", "int8"), map(_megabytes, bundles), strict=True)),
            "ms_per_window": _times(*bundles),
        }


def _passes(report: GateReport, bounds: GateBounds) -> bool:
    """Whether the report's figures lie within the bounds."""
    losses = [-(region.dsc_change.value or 0) for region in report.regions]
    dice = [region.dice.value for region in report.regions if region.dice.value is not None]
    falls = [-(task.change.value or 0) for task in report.tasks]
    return (
        max(losses, default=0) <= bounds.max_dsc_loss
        and min(dice, default=1) >= bounds.min_dice
        and max(falls, default=0) <= bounds.max_macro_f1_loss
    )


def _megabytes(bundle: Bundle) -> float:
    graphs = (bundle.member_folder(member) / "windows.bin" for member in bundle.members)
    return round(sum(path.stat().st_size for path in graphs) / 1e6, 2)


def _times(exact: Bundle, eight: Bundle) -> dict[str, dict[str, float]]:
    """Median and best of `_ROUNDS` calls with one window, after one to warm up."""
    engines = {
        precision: open_openvino(
            bundle.member_folder(bundle.members[0]),
            bundle.members[0].network,
            precision=precision,
        )
        for precision, bundle in (("fp32", exact), ("bf16", exact), ("int8", eight))
    }
    shape = (1, exact.description.num_channels, *exact.configuration.patch_size_zyx)
    window = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    shares = np.ones((1, 1, *shape[2:]), dtype=np.float32)
    seconds: dict[str, list[float]] = {precision: [] for precision in engines}
    for _ in range(_ROUNDS + 1):
        for precision, engine in engines.items():
            started = time.perf_counter()
            engine.predict(window, shares)
            seconds[precision].append(time.perf_counter() - started)
    return {
        precision: {
            "median": round(1e3 * statistics.median(measured[1:]), 1),
            "best": round(1e3 * min(measured[1:]), 1),
        }
        for precision, measured in seconds.items()
    }


if __name__ == "__main__":
    main()
