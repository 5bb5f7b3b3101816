"""Data, trained networks and the bundle of abdomen.py, made by the commands a user has."""

import csv
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from abdomen_phantoms import Shape, Triple, abdomen
from abdomen_widening import widen
from segduet.core.files import read_json, write_json
from segduet.io.images import write_label_map
from segduet.io.itk import write_scan
from segduet.nnunet.coarse_plan import with_coarse_configuration

TRAIN_SEED, GATE_SEED = 1, 2
DATASET, GATE_DATASET = "Dataset701_abdomen", "Dataset702_abdomen_gate"
WINDOWS, COARSE_WINDOWS = "3d_windows", "3d_coarse_windows"
PLANS = "nnUNetPlans"


@dataclass(frozen=True, kw_only=True)
class Size:
    """How large everything is. Shapes are zyx; steps count optimiser steps."""

    scan: Shape
    scan_mm: Triple
    target: Shape
    target_mm: Triple
    gate: Shape
    patch: Shape
    window: Shape
    coarse_window: Shape
    features: tuple[int, ...]
    num_train: int
    num_val: int
    num_gate: int
    coarse_voxels: int
    window_epochs: int
    coarse_epochs: int
    patch_epochs: int
    fine_epochs: int
    num_recall: int
    num_accuracy: int
    timing_rounds: int


FULL = Size(
    scan=(120, 512, 512),
    scan_mm=(2.5, 0.8, 0.8),
    target=(150, 561, 561),
    target_mm=(2.0, 0.73, 0.73),
    gate=(96, 192, 256),
    patch=(64, 128, 192),
    window=(32, 64, 96),
    coarse_window=(32, 96, 96),
    features=(32, 64, 128, 256, 320, 320),
    num_train=16,
    num_val=2,
    num_gate=14,
    coarse_voxels=1_500_000,
    window_epochs=16,
    coarse_epochs=4,
    patch_epochs=2,
    fine_epochs=1,
    num_recall=100,
    num_accuracy=8,
    timing_rounds=5,
)
QUICK = Size(
    scan=(40, 128, 128),
    scan_mm=(7.5, 3.2, 3.2),
    target=(50, 140, 140),
    target_mm=(6.0, 2.92, 2.92),
    gate=(32, 64, 80),
    patch=(32, 48, 64),
    window=(16, 32, 32),
    coarse_window=(16, 32, 32),
    features=(8, 16, 32, 32),
    num_train=4,
    num_val=2,
    num_gate=6,
    coarse_voxels=60_000,
    window_epochs=2,
    coarse_epochs=1,
    patch_epochs=1,
    fine_epochs=1,
    num_recall=2,
    num_accuracy=1,
    timing_rounds=1,
)


class Work:
    """The folder of a run, what it is made with, and what is done already."""

    def __init__(self, folder: Path, size: Size) -> None:
        self.folder, self.size = folder, size
        self.root = folder / "data"

    def record(self, name: str) -> Path:
        """Where a stage's figures are kept."""
        return self.folder / "stages" / f"{name}.json"

    def model(self, name: str, configuration: str) -> Path:
        """Model folder of a training."""
        return self.root / "nnUNet_results" / DATASET / f"{name}__{PLANS}__{configuration}"

    @property
    def plans(self) -> Path:
        """The plans file."""
        return self.root / "nnUNet_preprocessed" / DATASET / f"{PLANS}.json"

    @property
    def coarse(self) -> Path:
        """The trained coarse model."""
        return self.model("coarse", "3d_coarse")

    @property
    def fine(self) -> Path:
        """The trained fine model."""
        return self.model("fine", "3d_fullres")

    @property
    def bundle(self) -> Path:
        """What is measured."""
        return self.folder / "abdomen.zip"

    def scans(self) -> list[Path]:
        """The files that are timed, whether or not they are there."""
        folder, count = self.folder / "scans", self.size.timing_rounds
        return [folder / str(index) / "ct_0000.nii.gz" for index in range(count)]

    def segduet(self, *arguments: Any) -> None:
        """Runs a command; an error ends the run."""
        command = [sys.executable, "-m", "segduet", *map(str, arguments)]
        print(time.strftime("%H:%M:%S"), *command[2:], flush=True)
        subprocess.run(command, check=True)


def make_data(work: Work) -> dict[str, Any]:
    """Phantoms, plans and prepared cases."""
    size = work.size
    cases = size.num_train + size.num_val
    _write_series(work, "train", size.target, TRAIN_SEED, cases, num_val=size.num_val)
    _write_series(work, "gate", size.gate, GATE_SEED, size.num_gate, num_val=size.num_gate // 2)
    for series, name in (("train", DATASET), ("gate", GATE_DATASET)):
        if not (work.root / "nnUNet_raw" / name).is_dir():
            work.segduet(
                *("import", "table", work.folder / series, "--name", name, "--channels", "CT"),
                *("--label-names", "pancreas,lesion", "--label-values", "1,2"),
                *("--class-column", "subtype", "--data-root", work.root, "--workers", 1),
            )
    is_full = size is FULL
    work.segduet(
        *("plan", DATASET, "--data-root", work.root, "--workers", 1),
        *(["--coarse"] if is_full else []),
    )
    write_json(work.plans, _fitted_plan(read_json(work.plans), size))
    for configuration in ("3d_coarse", "3d_fullres"):
        work.segduet(
            *("preprocess", DATASET, "-c", configuration, "--data-root", work.root),
            *("--workers", 1),
        )
    plan = read_json(work.plans)["configurations"]
    return {
        "cases": cases,
        "fine_spacing_mm": plan["3d_fullres"]["spacing"],
        "fine_patch": plan["3d_fullres"]["patch_size"],
        "fine_features": size.features,
        "coarse_spacing_mm": plan["3d_coarse"]["spacing"],
        "coarse_patch": plan["3d_coarse"]["patch_size"],
    }


def _write_series(
    work: Work, name: str, shape: Shape, seed: int, num_cases: int, *, num_val: int
) -> None:
    folder = work.folder / name
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    cases = [f"{name}{index:03d}" for index in range(num_cases)]
    for index, case in enumerate(cases):
        mask = folder / "masks" / f"{case}.nii.gz"
        if mask.is_file():
            continue
        phantom = abdomen(shape, work.size.target_mm, seed=seed, index=index)
        write_scan(folder / "images" / f"{case}_0000.nii.gz", phantom.image, phantom.geometry)
        write_label_map(mask, phantom.label_map, phantom.geometry)
        print(time.strftime("%H:%M:%S"), case, flush=True)
    with (folder / "cases.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["case", "subtype", "split"])
        for index, case in enumerate(cases):
            split = "train" if index < num_cases - num_val else "val"
            table.writerow([case, f"type{index % 3}", split])


def _fitted_plan(plan: dict[str, Any], size: Size) -> dict[str, Any]:
    """nnU-Net's plan with the patch and the features the bar was written for, and small windows."""
    from nnunetv2.experiment_planning.experiment_planners.network_topology import (
        get_pool_and_conv_props,
    )

    if "3d_coarse" not in plan["configurations"]:
        plan = with_coarse_configuration(plan, num_voxels=size.coarse_voxels)
    configurations = dict(plan["configurations"])
    fine = dict(configurations["3d_fullres"])
    num_stages = len(size.features)
    _, strides, kernels, patch, _ = get_pool_and_conv_props(
        fine["spacing"], size.patch, 4, num_stages - 1
    )
    assert (tuple(patch), len(strides)) == (size.patch, num_stages), (patch, strides)
    arguments = {
        **fine["architecture"]["arch_kwargs"],
        "n_stages": num_stages,
        "features_per_stage": list(size.features),
        "kernel_sizes": [[int(n) for n in kernel] for kernel in kernels],
        "strides": [[int(n) for n in stride] for stride in strides],
        "n_conv_per_stage": [2] * num_stages,
        "n_conv_per_stage_decoder": [2] * (num_stages - 1),
    }
    fine["patch_size"] = list(size.patch)
    fine["architecture"] = {**fine["architecture"], "arch_kwargs": arguments}
    configurations["3d_fullres"] = fine
    for name, inherited, window in (
        (WINDOWS, "3d_fullres", size.window),
        (COARSE_WINDOWS, "3d_coarse", size.coarse_window),
    ):
        configurations[name] = {
            "inherits_from": inherited,
            "patch_size": list(window),
            "batch_size": 2,
        }
    return {**plan, "configurations": configurations}


_STEPS_PER_EPOCH = 25
_RECIPE = (
    f"steps_per_epoch={_STEPS_PER_EPOCH}",
    "averaging={kind: ema, decay: 0.97}",
    "validation={patches_per_epoch: 2, final: false}",
    "details_every=0",
    "sampling.foreground_share=0.6",
)
#: Features of the fine network by those of the narrow one that it begins as.
_WIDENING = 4


def train(work: Work) -> dict[str, Any]:
    """The coarse network, then the fine one; both see small windows before large ones.

    Full patches through 32 to 320 features take too long here to learn from the start. So a network
    with a quarter of the features learns first; the fine one begins as the same function with every
    feature taken four times, and learns on full patches.
    """
    size, seconds = work.size, {}
    coarse_windows = work.model("coarse", COARSE_WINDOWS)
    windows, patches = work.model("narrow", WINDOWS), work.model("narrow", "3d_fullres")
    wide = work.folder / "wide.safetensors"
    narrow = [f"network.width_factor={1 / _WIDENING}"]
    one = ["batch_size=1", "optimizer.learning_rate=3e-4"]
    # torch 2.13's weight gradient in bf16 on a CPU is wrong where a feature map is 2 voxels deep
    first = ["precision=fp32", "optimizer.learning_rate=2e-3"]
    for model, epochs, settings, start in (
        (coarse_windows, size.window_epochs, first, None),
        (work.coarse, size.coarse_epochs, [], weights_of(coarse_windows)),
        (windows, size.window_epochs, [*narrow, *first], None),
        (patches, size.patch_epochs, [*narrow, *one], weights_of(windows)),
        (work.fine, size.fine_epochs, one, wide),
    ):
        started = time.time()
        if start == wide and not wide.is_file():
            widen(weights_of(patches), wide, _WIDENING)
        _train_one(work, model, epochs, settings, start)
        seconds[f"{model.name}, {epochs * _STEPS_PER_EPOCH} steps"] = time.time() - started
    return {"seconds": seconds, "widened": _WIDENING}


def weights_of(model: Path) -> Path:
    """The weights of a training."""
    return model / "fold_0" / "model.safetensors"


def _train_one(
    work: Work, model: Path, epochs: int, settings: list[str], start: Path | None
) -> None:
    if weights_of(model).is_file():
        return
    name, _, configuration = model.name.split("__")
    sets = [part for setting in (*_RECIPE, *settings) for part in ("--set", setting)]
    work.segduet(
        *("train", DATASET, "-c", configuration, "-f", 0, "--name", name),
        *("--recipe", "segmentation-only", "--data-root", work.root, "--epochs", epochs),
        *(*sets, *(["--pretrained", start] if start else [])),
        *(["--resume"] if (model / "fold_0").is_dir() else []),
    )


def export(work: Work) -> dict[str, Any]:
    """The bundle, and the stock model folder that stock nnU-Net is timed with.

    Where the gate refuses the 8-bit networks, a bundle that fast mode runs in bf16 takes their
    place.
    """
    report, stock = work.folder / "gate.json", work.folder / "stock"
    common = ("export", work.fine, "--to", "bundle", "--format", "openvino", "--out", work.bundle)
    coarse = ("--coarse", work.coarse)
    if not work.bundle.exists() and not report.is_file():
        try:
            work.segduet(
                *(*common, *coarse, "--precision", "int8", "--calibration", GATE_DATASET),
                *("--gate-report", report, "--data-root", work.root),
            )
        except subprocess.CalledProcessError:
            if not report.is_file():
                raise
    if not work.bundle.exists():
        work.segduet(*common, *coarse)
    if not stock.exists():
        work.segduet("export", work.fine, "--to", "nnunet", "--out", stock)
    return {"gate": read_json(report)}
