"""What 8 bits lose on trained models, and what they gain per window (F68, B14).

Usage: python benchmarks/int8_accuracy.py NAME=MODEL=DATASET ... --data-root DIR

For every model: quantised as `segduet export --precision int8` does it, calibrated on training
cases of the dataset, on which is also chosen what stays in float, and compared with the same
networks in fp32 on its validation fold, without mirroring. What the gate refuses is recorded too.
DATASET is a name below DIR or a raw dataset folder. Times are of one window of the plan's patch
size on OpenVINO, precisions in turn. Writes docs/results/int8_accuracy.json.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from results_file import write_result
from segduet.core.errors import RequestError
from segduet.core.files import read_json
from segduet.core.folders import DataRoot
from segduet.core.runtime import RuntimeFormat
from segduet.inference.bundles.opening import Bundle, open_bundle_folder
from segduet.inference.bundles.writing import BundleExtras
from segduet.inference.engines.openvino_engine import open_openvino
from segduet.workflows.conversion import convert_model
from segduet.workflows.int8_export import Int8Request, write_int8_bundle
from segduet.workflows.models import ModelFolder, open_model

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
        exact, eight, gate = (Path(temporary) / name for name in ("fp32", "int8", "gate.json"))
        for target in (exact, eight):
            target.mkdir()
        convert_model(folder, RuntimeFormat.OPENVINO, exact)
        request = Int8Request(calibration=dataset, root=root, report_file=gate)
        try:
            write_int8_bundle(folder, eight, request, extras=BundleExtras(), say=print)
        except RequestError as error:
            if not gate.is_file():
                raise
            print(error)
        report = read_json(gate)
        bundles = [open_bundle_folder(made, verify=False) for made in (exact, eight)]
        return {
            "dataset": folder.plan.dataset_name,
            "held_cases": report["n"],
            "passes_default_bounds": report["passed"],
            "report": report,
            "megabytes": dict(zip(("fp32", "int8"), map(_megabytes, bundles), strict=True)),
            "ms_per_window": _times(*bundles),
        }


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
