"""Everything in a prediction but the network: ours against nnunetv2's own functions, by stage.

Usage: python benchmarks/prediction_stages.py [--quick] [--rounds N] [--no-large]

A phantom CT (120 x 512 x 512 voxels of 2.5 x 0.8 x 0.8 mm) is read, prepared for a plan of 150 x
561 x 561 voxels, cut into windows of 64 x 128 x 192, blended, brought back and written. In place of
the network stands a stub whose time is left out, so that what is measured is the rest. Each run is
a fresh process; the two sides take turns (ABBA), and the file they read is warm. Then two volumes
to fit into memory: 512 x 512 x 800 with 4 classes (ours alone), and the export of 25 classes on
512 x 512 x 300 against nnunetv2's.

Seconds are wall-clock; cpu_seconds are those of all threads, which other programs disturb less.

Writes docs/results/prediction_stages.json (not with --quick).
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from scipy import ndimage

from results_file import write_result
from segduet.core.geometry import Geometry
from segduet.core.labels import LabelScheme
from segduet.core.plan import Plan
from segduet.inference.engine import HeadAnswers, Member, WindowAnswers
from segduet.inference.predictor import predict_case
from segduet.inference.settings import PredictionSettings
from segduet.inference.window_pass import WindowPass
from segduet.io.images import read_label_map, read_stored_image, write_label_map
from segduet.io.itk import write_scan
from segduet.preparation.prepare import prepare_case
from segduet.preparation.restore import LabelMapRestorer

SEED = 0
#: What is asked for: speed-up, largest difference of the image, share of equal voxels, memory.
BARS = {
    "speed_up": 20,
    "image": 1e-5,
    "label_map": 0.9999,
    "exact_gib": 6.0,
    "export_memory": 0.25,
}
_RESAMPLING = {"order_z": 0, "force_separate_z": None}
_FULL = {"shape": (120, 512, 512), "spacing": (2.5, 0.8, 0.8), "target": (2.0, 0.73, 0.73)}
_QUICK = {"shape": (40, 128, 128), "spacing": (2.5, 0.8, 0.8), "target": (2.0, 0.73, 0.73)}
_PATCH = {"full": (64, 128, 192), "quick": (32, 64, 64)}


def make_plan(target: tuple[float, ...], patch: tuple[int, ...]) -> Plan:
    """A CT plan as nnU-Net's planner writes it."""
    intensities = {"mean": 80.0, "std": 120.0, "percentile_00_5": -900.0, "percentile_99_5": 900.0}
    arguments = {
        "resampling_fn_data_kwargs": {"is_seg": False, "order": 3, **_RESAMPLING},
        "resampling_fn_seg_kwargs": {"is_seg": True, "order": 1, **_RESAMPLING},
        "resampling_fn_probabilities_kwargs": {"is_seg": False, "order": 1, **_RESAMPLING},
    }
    configuration = {
        "data_identifier": "plan_c",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": list(patch),
        "median_image_size_in_voxels": [float(n) for n in patch],
        "spacing": list(target),
        "normalization_schemes": ["CTNormalization"],
        "use_mask_for_norm": [False],
        **dict.fromkeys(
            ["resampling_fn_data", "resampling_fn_seg", "resampling_fn_probabilities"],
            "resample_data_or_seg_to_shape",
        ),
        **arguments,
        "architecture": {"network_class_name": "x", "arch_kwargs": {}, "_kw_requires_import": []},
        "batch_dice": False,
    }
    return Plan.model_validate(
        {
            "dataset_name": "Dataset999_phantom",
            "plans_name": "plan",
            "image_reader_writer": "SimpleITKIO",
            "label_manager": "LabelManager",
            "foreground_intensity_properties_per_channel": {"0": intensities},
            "configurations": {"c": configuration},
        }
    )


def label_names(num_classes: int) -> dict[str, int]:
    """As in dataset.json."""
    return {"background": 0, **{f"organ{i}": i for i in range(1, num_classes)}}


def smooth_noise(shape: tuple[int, ...], seed: int, coarse: int = 8) -> np.ndarray:
    """Smooth float32 noise of unit spread."""
    rng = np.random.default_rng(seed)
    knots = rng.normal(size=[max(2, n // coarse) for n in shape]).astype(np.float32)
    factors = [n / k for n, k in zip(shape, knots.shape, strict=True)]
    return ndimage.zoom(knots, factors, order=1, mode="nearest", grid_mode=True)


def write_phantom(path: Path, shape: tuple[int, ...], spacing: tuple[float, ...]) -> None:
    """Two kinds of organs in tissue, with scanner noise, whole Hounsfield units."""
    level = smooth_noise(shape, SEED)
    organs = np.select([level > 0.5, level < -0.5], [200.0, -300.0])
    grain = np.random.default_rng(SEED).normal(0, 15, shape)
    image = (organs + grain).astype(np.int16)
    write_scan(path, image, Geometry(shape_zyx=shape, spacing_zyx_mm=spacing))


class Stub:
    """In place of a network: logits are lines in the intensity; its time is taken and left out."""

    name, num_spatial_dims = "stub", 3

    def __init__(self, num_classes: int) -> None:
        slopes = [0.0, 5.0, -5.0, 1.0][:num_classes]
        offsets = [0.0, -1.0, -10.0, -9.0][:num_classes]
        self._lines = list(zip(slopes, offsets, strict=True))
        self.seconds = 0.0

    def logits(self, windows: np.ndarray) -> np.ndarray:
        """(B, 1, Z, Y, X) -> (B, K, Z, Y, X)."""
        started = time.perf_counter()
        batch, _, *spatial = windows.shape
        logits = np.empty((batch, len(self._lines), *spatial), np.float32)
        for number, (slope, offset) in enumerate(self._lines):
            np.multiply(windows[:, 0], np.float32(slope), out=logits[:, number])
            logits[:, number] += np.float32(offset)
        self.seconds += time.perf_counter() - started
        return logits

    def predict(self, windows: np.ndarray, shares: np.ndarray) -> WindowAnswers:
        """As an engine."""
        assert len(windows) == len(shares)
        return WindowAnswers(logits=self.logits(windows))

    def answer(self, sums: Mapping[str, np.ndarray]) -> HeadAnswers:
        """No tasks."""
        assert not sums
        return HeadAnswers(logits={}, features={})


class Clock:
    """Seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.cpu_seconds = 0.0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Adds the time of the block."""
        started, cpu = time.perf_counter(), time.process_time()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started
        self.cpu_seconds += time.process_time() - cpu


def ours(folder: Path, plan: Plan, stub: Stub, num_classes: int) -> tuple[Clock, np.ndarray]:
    """Our stages, and the prepared image."""
    clock = Clock()
    configuration = plan.configuration("c")
    labels = LabelScheme.from_dataset_json(label_names(num_classes), None, where="benchmark")
    with clock.stage("read"):
        volume = read_stored_image([folder / "ct_0000.nii.gz"])
    with clock.stage("prepare"):
        prepared = prepare_case(volume, None, case="ct", plan=plan, configuration=configuration)
    restorer = LabelMapRestorer(
        placement=prepared.placement, configuration=configuration, labels=labels
    )
    windows = WindowPass(
        stub,
        prepared,
        patch_zyx=configuration.patch_size_zyx,
        tasks=(),
        settings=PredictionSettings(),
    )
    slabs = windows.slabs()
    while True:
        with clock.stage("windows"):
            slab = next(slabs, None)
        if slab is None:
            break
        with clock.stage("restore"):
            restorer.add(slab)
    with clock.stage("restore"):
        label_map = restorer.finish()
    with clock.stage("write"):
        write_label_map(folder / "ours.nii.gz", label_map, volume.geometry)
    return clock, prepared.image


def nnunets(folder: Path, plan: Plan, stub: Stub, num_classes: int) -> tuple[Clock, np.ndarray]:
    """nnunetv2's own functions for the same stages, and its prepared image."""
    import torch
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
    from nnunetv2.inference.export_prediction import (
        convert_predicted_logits_to_segmentation_with_correct_shape as convert,
    )
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    clock = Clock()
    manager = PlansManager(plan.to_json())
    configuration = manager.get_configuration("c")
    dataset = {"labels": label_names(num_classes)}

    class Network(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.from_numpy(stub.logits(x.numpy()))

    predictor = nnUNetPredictor(device=torch.device("cpu"), verbose=False, allow_tqdm=False)
    predictor.network = Network()
    predictor.configuration_manager = SimpleNamespace(patch_size=configuration.patch_size)
    predictor.label_manager = SimpleNamespace(num_segmentation_heads=num_classes)
    with clock.stage("read"):
        image, properties = SimpleITKIO().read_images([str(folder / "ct_0000.nii.gz")])
    with clock.stage("prepare"):
        image, _, properties = DefaultPreprocessor(verbose=False).run_case_npy(
            image, None, properties, manager, configuration, dataset
        )
    with clock.stage("windows"):
        logits = predictor.predict_sliding_window_return_logits(torch.from_numpy(image))
    with clock.stage("restore"):
        label_map = convert(
            logits,
            manager,
            configuration,
            manager.get_label_manager(dataset),
            properties,
            num_threads_torch=torch.get_num_threads(),
        )
    with clock.stage("write"):
        SimpleITKIO().write_seg(label_map, str(folder / "nnunet.nii.gz"), properties)
    return clock, image


def stages_run(side: str, folder: Path, size: str) -> dict[str, Any]:
    """One run of one side, in its own process."""
    phantom = _FULL if size == "full" else _QUICK
    plan = make_plan(phantom["target"], _PATCH[size])
    stub = Stub(3)
    run: Callable[..., tuple[Clock, np.ndarray]] = ours if side == "ours" else nnunets
    clock, image = run(folder, plan, stub, 3)
    clock.seconds["windows"] -= stub.seconds
    peak = peak_gib()
    target = folder / f"{side}.npy"
    if not target.exists():
        np.save(target, image)
    return {
        "seconds": clock.seconds,
        "total": sum(clock.seconds.values()),
        "cpu": clock.cpu_seconds - stub.seconds,
        "peak_gib": peak,
    }


def exact_run(folder: Path) -> dict[str, Any]:
    """512 x 512 x 800 with 4 classes, from the file to the file: peak memory of the process."""
    plan = make_plan((1.0, 0.7, 0.7), (64, 128, 192))
    labels = LabelScheme.from_dataset_json(label_names(4), None, where="benchmark")
    started = time.perf_counter()
    volume = read_stored_image([folder / "large_0000.nii.gz"])
    prediction = predict_case(
        [Member(engine=Stub(4))],
        volume,
        case="large",
        plan=plan,
        configuration=plan.configuration("c"),
        labels=labels,
        settings=PredictionSettings(),
    )
    assert prediction.label_map is not None
    write_label_map(folder / "large.nii.gz", prediction.label_map, volume.geometry)
    return {"seconds": time.perf_counter() - started, "peak_gib": peak_gib()}


_EXPORT = {"native": (300, 512, 512), "spacing": (1.5, 0.8, 0.8), "target": (1.5, 1.5, 1.5)}


def export_placement(plan: Plan) -> Any:
    """Where the 25 classes' logits lie, without preparing an image."""
    from segduet.core.prepared import Placement
    from segduet.preparation.resampling import resampled_shape

    native = Geometry(shape_zyx=_EXPORT["native"], spacing_zyx_mm=_EXPORT["spacing"])
    return Placement(
        native=native,
        transpose_forward=plan.transpose_forward,
        transpose_backward=plan.transpose_backward,
        crop_box=tuple((0, n) for n in _EXPORT["native"]),
        prepared_shape=resampled_shape(_EXPORT["native"], _EXPORT["spacing"], _EXPORT["target"]),
    )


def export_run(side: str, folder: Path) -> dict[str, Any]:
    """25 classes of logits, from memory to a label map; both sides hold float16 as nnU-Net does."""
    plan = make_plan(_EXPORT["target"], (128, 128, 128))
    placement = export_placement(plan)
    shape = placement.prepared_shape
    logits = np.empty((25, *shape), np.float16)
    for number in range(25):
        logits[number] = smooth_noise(shape, number)
    before = peak_gib()
    run = export_ours if side == "ours" else export_nnunets
    started = time.perf_counter()
    label_map = run(logits, plan, placement)
    seconds = time.perf_counter() - started
    peak = peak_gib()
    np.save(folder / f"export_{side}.npy", label_map)
    return {"seconds": seconds, "peak_gib": peak, "before_gib": before}


def export_ours(logits: np.ndarray, plan: Plan, placement: Any) -> np.ndarray:
    """Slab by slab, as the window pass hands them out."""
    labels = LabelScheme.from_dataset_json(label_names(25), None, where="benchmark")
    restorer = LabelMapRestorer(
        placement=placement, configuration=plan.configuration("c"), labels=labels
    )
    for first in range(0, logits.shape[1], 16):
        restorer.add(logits[:, first : first + 16].astype(np.float32))
    return restorer.finish()


def export_nnunets(logits: np.ndarray, plan: Plan, placement: Any) -> np.ndarray:
    """nnunetv2's conversion."""
    import torch
    from nnunetv2.inference.export_prediction import (
        convert_predicted_logits_to_segmentation_with_correct_shape as convert,
    )
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    manager = PlansManager(plan.to_json())
    properties = {
        "spacing": list(_EXPORT["spacing"]),
        "shape_before_cropping": placement.cropped_shape,
        "shape_after_cropping_and_before_resampling": placement.cropped_shape,
        "bbox_used_for_cropping": [list(side) for side in placement.crop_box],
    }
    return np.asarray(
        convert(
            torch.from_numpy(logits),
            manager,
            manager.get_configuration("c"),
            manager.get_label_manager({"labels": label_names(25)}),
            properties,
            num_threads_torch=torch.get_num_threads(),
        )
    )


def peak_gib() -> float:
    """Largest resident memory of this process so far.

    Not from getrusage, whose figure a new process inherits from the one that started it.
    """
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    kib = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    return int(kib) / 2**20


def in_fresh_process(*arguments: str) -> dict[str, Any]:
    """Runs this script for one measurement. Outputs are kept of the first run of each side."""
    command = [sys.executable, __file__, "--run", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{command}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(arguments, {k: v for k, v in result.items() if k != "seconds"}, result.get("seconds"))
    return result


def median_and_range(values: list[float]) -> dict[str, float]:
    """What a reader needs of a few runs."""
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def compared_stages(folder: Path, size: str, rounds: int) -> dict[str, Any]:
    """Both sides in turn, and whether their outputs agree."""
    runs: dict[str, list[dict[str, Any]]] = {"ours": [], "nnunet": []}
    for number in range(rounds):
        order = ("ours", "nnunet") if number % 2 == 0 else ("nnunet", "ours")
        for side in order:
            runs[side].append(in_fresh_process("stages", side, str(folder), size))
    image = np.load(folder / "ours.npy"), np.load(folder / "nnunet.npy")
    maps = [read_label_map(folder / f"{side}.nii.gz").array for side in ("ours", "nnunet")]
    pairs = list(zip(runs["ours"], runs["nnunet"], strict=True))
    stages = runs["ours"][0]["seconds"]
    return {
        "rounds": rounds,
        "seconds": {
            side: {
                stage: median_and_range([run["seconds"][stage] for run in done]) for stage in stages
            }
            | {"total": median_and_range([run["total"] for run in done])}
            for side, done in runs.items()
        },
        "speed_up_paired": median_and_range([b["total"] / a["total"] for a, b in pairs]),
        "cpu_seconds": {
            side: median_and_range([run["cpu"] for run in done]) for side, done in runs.items()
        },
        "cpu_ratio_paired": median_and_range([b["cpu"] / a["cpu"] for a, b in pairs]),
        "peak_gib": {
            side: median_and_range([run["peak_gib"] for run in done]) for side, done in runs.items()
        },
        "image_largest_difference": float(np.abs(image[0] - image[1]).max()),
        "label_map_equal_share": float(np.mean(maps[0] == maps[1])),
    }


def compared_export(folder: Path, rounds: int) -> dict[str, Any]:
    """25 classes, both sides in turn."""
    runs: dict[str, list[dict[str, Any]]] = {"ours": [], "nnunet": []}
    for number in range(rounds):
        order = ("ours", "nnunet") if number % 2 == 0 else ("nnunet", "ours")
        for side in order:
            runs[side].append(in_fresh_process("export", side, str(folder)))
    maps = [np.load(folder / f"export_{side}.npy") for side in ("ours", "nnunet")]
    peaks = {side: statistics.median(r["peak_gib"] for r in done) for side, done in runs.items()}
    return {
        "rounds": rounds,
        "seconds": {s: median_and_range([r["seconds"] for r in d]) for s, d in runs.items()},
        "speed_up_paired": median_and_range(
            [b["seconds"] / a["seconds"] for a, b in zip(*runs.values(), strict=True)]
        ),
        "peak_gib": peaks,
        "memory_share": peaks["ours"] / peaks["nnunet"],
        "label_map_equal_share": float(np.mean(maps[0] == maps[1])),
    }


def measure(size: str, rounds: int, *, with_large: bool) -> dict[str, Any]:
    """All figures."""
    with tempfile.TemporaryDirectory(prefix="segduet-stages-") as name:
        folder = Path(name)
        phantom = _FULL if size == "full" else _QUICK
        write_phantom(folder / "ct_0000.nii.gz", phantom["shape"], phantom["spacing"])
        figures: dict[str, Any] = {
            "bars": BARS,
            "stages": compared_stages(folder, size, rounds),
        }
        if with_large:
            write_phantom(folder / "large_0000.nii.gz", (800, 512, 512), (1.0, 0.8, 0.8))
            figures["exact_512x512x800_4_classes"] = in_fresh_process("exact", str(folder))
            figures["export_25_classes_512x512x300"] = compared_export(folder, min(rounds, 3))
        return figures


def main() -> None:
    """Measures, or runs one measurement of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--no-large", action="store_true")
    parser.add_argument("--run", nargs="+")
    options = parser.parse_args()
    if options.run:
        what, *rest = options.run
        runs: dict[str, Callable[[], dict[str, Any]]] = {
            "stages": lambda: stages_run(rest[0], Path(rest[1]), rest[2]),
            "exact": lambda: exact_run(Path(rest[0])),
            "export": lambda: export_run(rest[0], Path(rest[1])),
        }
        print(json.dumps(runs[what]()))
        return
    size = "quick" if options.quick else "full"
    figures = measure(size, options.rounds, with_large=not (options.quick or options.no_large))
    print(json.dumps(figures, indent=1))
    if size == "full":
        print(write_result("prediction_stages", seeds=[SEED], figures=figures))


if __name__ == "__main__":
    main()
