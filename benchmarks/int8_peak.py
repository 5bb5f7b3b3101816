"""How near to the machine's int8 peak does an exported 8-bit network run?

Usage: python benchmarks/int8_peak.py [--rounds N] [--quick]

The plain 32..320 U-Net of nnU-Net's default plans, patch 64 x 128 x 192, random weights (speed does
not depend on them), quantised in the ways that `segduet export --precision int8` chooses from: 1, 2
or 3 convolutions in float at both ends. The bar is for the first. The peak is the best of several
8-bit matrix products by oneDNN and of several chains of 3 x 3 x 3 convolutions by OpenVINO: the
median over the rounds of each, then the largest. Operations are 2 * multiply-adds, those of
convolutions alone. All in one process; in every round each of them has its turn.

Writes docs/results/int8_peak.json (not with --quick).
"""

import argparse
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import torch
from openvino import opset13 as ops

from results_file import write_result
from segduet.compression.calibration import CalibrationWindow
from segduet.compression.openvino_conversion import convert_to_openvino
from segduet.compression.quantisation import QuantisationSettings, quantise
from segduet.compression.quiet_nncf import quiet_nncf
from segduet.core.labels import LabelScheme
from segduet.core.plan import ConfigurationPlan
from segduet.inference.engine import Engine
from segduet.inference.engines.openvino_engine import open_openvino
from segduet.networks.config import HeadConfig
from segduet.networks.joint import build_joint_network
from segduet.workflows.int8_rehearsal import LEAST_FLOAT_FIRST

BAR = 0.85
SEED = 0
PATCH = (64, 128, 192)
FEATURES = (32, 64, 128, 256, 320, 320)
#: Rows, columns and depth of matrix products.
PRODUCTS = ((2048, 2048, 2048), (4096, 4096, 4096), (16384, 1024, 1024))
#: Channels, layers and voxels of chains of convolutions.
CHAINS = ((64, 4, (32, 64, 96)), (128, 4, (16, 32, 48)), (256, 3, (16, 32, 48)))
_CALIBRATION_SHAPE = (32, 64, 64)  # ranges of random weights need no more

#: Something to time, and the operations in one call.
Timed = tuple[Callable[[], object], float]


def main() -> None:
    """Measures and writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument(
        "--quick", action="store_true", help="small, one shape of each; writes nothing"
    )
    arguments = parser.parse_args()
    torch.manual_seed(SEED)
    patch, features = ((16, 32, 32), (8, 16, 32)) if arguments.quick else (PATCH, FEATURES)
    with tempfile.TemporaryDirectory(prefix="segduet-peak-") as folder:
        num_shapes = 1 if arguments.quick else None
        timed = {f"product {s}": _product(*s) for s in PRODUCTS[:num_shapes]}
        timed |= {
            f"convolutions {c} x {n} at {v}": _chain(c, n, v) for c, n, v in CHAINS[:num_shapes]
        }
        peaks = list(timed)
        timed |= _networks(Path(folder), patch, features)
        speeds = _measured(timed, arguments.rounds)
    figures = _figures(speeds, peaks, timed)
    print(figures)
    if not arguments.quick:
        print(f"written: {write_result('int8_peak', seeds=[SEED], figures=figures)}")


def _figures(
    speeds: dict[str, list[float]], peaks: list[str], timed: dict[str, Timed]
) -> dict[str, Any]:
    best = max(peaks, key=lambda name: statistics.median(speeds[name]))
    peak = statistics.median(speeds[best])
    networks = {
        name: {
            "giga_operations": round(timed[name][1] / 1e9, 1),
            "giga_operations_per_s": round(statistics.median(speeds[name])),
            "seconds": round(timed[name][1] / 1e9 / statistics.median(speeds[name]), 4),
            "share_of_peak": round(statistics.median(speeds[name]) / peak, 3),
        }
        for name in speeds
        if name not in peaks
    }
    fastest = networks[f"int8, {LEAST_FLOAT_FIRST[0]} in float"]["share_of_peak"]
    return {
        "bar": f"share of the int8 peak >= {BAR}",
        "passed": fastest >= BAR,
        "peak_giga_operations_per_s": round(peak),
        "peak_is_of": best,
        "networks": networks,
        "giga_operations_per_s_by_round": {
            name: [round(speed) for speed in each] for name, each in speeds.items()
        },
    }


def _measured(timed: dict[str, Timed], rounds: int) -> dict[str, list[float]]:
    """Giga-operations per second of each, by round; one round to warm up is left out."""
    speeds: dict[str, list[float]] = {name: [] for name in timed}
    for number in range(rounds + 1):
        for name, (run, operations) in timed.items():
            repeats = math.ceil(1e11 / operations)  # clocks and waking threads take microseconds
            started = time.perf_counter()
            for _ in range(repeats):
                run()
            seconds = time.perf_counter() - started
            if number > 0:
                speeds[name].append(repeats * operations / seconds / 1e9)
    return speeds


def _product(rows: int, columns: int, depth: int) -> Timed:
    """Unsigned by signed 8 bits, back to 8 bits, as inside a network."""
    left = torch.randint(0, 255, (rows, depth), dtype=torch.uint8)
    right = torch.randint(-127, 127, (columns, depth), dtype=torch.int8)
    packed = torch.ops.onednn.qlinear_prepack(right, left.shape)
    scales, zeros = torch.full((columns,), 0.01), torch.zeros(columns, dtype=torch.int64)

    def run() -> object:
        return torch.ops.onednn.qlinear_pointwise(
            left, 0.01, 0, packed, scales, zeros, None, 1.0, 0, torch.uint8, "none", [], ""
        )

    return run, 2.0 * rows * columns * depth


def _chain(channels: int, layers: int, shape: tuple[int, ...]) -> Timed:
    """Convolutions one after the other, in 8 bits from the first to the last."""
    generator = np.random.default_rng(SEED)
    image = ops.parameter([1, channels, *shape], np.float32)
    last = image
    for _ in range(layers):
        weights = generator.normal(0, 0.05, (channels, channels, 3, 3, 3)).astype(np.float32)
        last = ops.relu(ops.convolution(last, weights, [1] * 3, [1] * 3, [1] * 3, [1] * 3))
    sample = generator.normal(size=(1, channels, *shape)).astype(np.float32)
    with quiet_nncf() as nncf:
        graph = nncf.quantize(
            openvino.Model([last], [image], "chain"),
            nncf.Dataset([sample]),
            target_device=nncf.TargetDevice.CPU,
            subset_size=1,
        )
    compiled = openvino.Core().compile_model(graph, "CPU", {"PERFORMANCE_HINT": "LATENCY"})
    request = compiled.create_infer_request()
    request.set_tensor(compiled.input(0), openvino.Tensor(sample))
    return request.infer, 2.0 * 27 * channels**2 * math.prod(shape) * layers


def _networks(folder: Path, patch: tuple[int, ...], features: tuple[int, ...]) -> dict[str, Timed]:
    network = build_joint_network(
        configuration=_configuration(patch, features),
        num_channels=1,
        labels=LabelScheme.from_dataset_json({"background": 0, "a": 1, "b": 2}, None, where="peak"),
        tasks=(),
        head=HeadConfig(),
        deep_supervision=False,
    ).eval()
    exact = convert_to_openvino(
        network, folder / "fp32", tasks=(), num_channels=1, patch_size=patch
    )
    operations = _operations(folder / "fp32" / exact.windows_file, patch)
    engines = {"bf16": open_openvino(folder / "fp32", exact, precision="bf16")}
    for ends in LEAST_FLOAT_FIRST:
        settings, target = QuantisationSettings(ends_in_float=ends), folder / f"int8-{ends}"
        eight = quantise(folder / "fp32", exact, _noise(), target, settings=settings)
        engines[f"int8, {ends} in float"] = open_openvino(target, eight, precision="int8")
    return {name: (_call(engine, patch), operations) for name, engine in engines.items()}


def _call(engine: Engine, patch: tuple[int, ...]) -> Callable[[], object]:
    window = np.random.default_rng(SEED).normal(size=(1, 1, *patch)).astype(np.float32)
    shares = np.ones_like(window)
    return lambda: engine.predict(window, shares)


def _noise() -> list[CalibrationWindow]:
    generator = np.random.default_rng(SEED)
    shares = np.ones((1, *_CALIBRATION_SHAPE), dtype=np.float32)
    images = generator.normal(size=(8, 1, *_CALIBRATION_SHAPE)).astype(np.float32)
    return [CalibrationWindow(case="noise", image=image, shares=shares) for image in images]


def _operations(graph_file: Path, patch: tuple[int, ...]) -> float:
    """2 * multiply-adds of all convolutions in one window."""
    graph = openvino.Core().read_model(graph_file)
    graph.reshape({port: [1, 1, *patch] for port in graph.inputs})
    return 2.0 * sum(_multiply_adds(node) for node in graph.get_ordered_ops())


def _multiply_adds(node: openvino.Node) -> int:
    """Every weight meets every voxel of the output, or, transposed, of the input."""
    kind = node.get_type_name()
    if kind not in ("Convolution", "ConvolutionBackpropData"):
        return 0
    port = node.output(0) if kind == "Convolution" else node.input(0)
    return math.prod(node.input(1).get_shape()) * math.prod(list(port.get_shape())[2:])


def _configuration(patch: tuple[int, ...], features: tuple[int, ...]) -> ConfigurationPlan:
    """As nnU-Net's default planner writes it for this patch."""
    stages = len(features)
    halvings = [[1, 1, 1], *[[2, 2, 2]] * (stages - 1)]
    if stages == len(FEATURES):
        halvings[-1] = [1, 2, 2]
    arguments = {
        "n_stages": stages,
        "features_per_stage": list(features),
        "conv_op": "torch.nn.modules.conv.Conv3d",
        "kernel_sizes": [[3, 3, 3]] * stages,
        "strides": halvings,
        "n_conv_per_stage": [2] * stages,
        "n_conv_per_stage_decoder": [2] * (stages - 1),
        "conv_bias": True,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }
    return ConfigurationPlan.model_validate(
        {
            "data_identifier": "peak",
            "batch_size": 2,
            "patch_size": list(patch),
            "spacing": [1.0] * 3,
            "median_image_size_in_voxels": [float(n) for n in patch],
            "normalization_schemes": ["CTNormalization"],
            "use_mask_for_norm": [False],
            "batch_dice": False,
            "architecture": {
                "network_class_name": "dynamic_network_architectures.architectures.unet"
                ".PlainConvUNet",
                "arch_kwargs": arguments,
                "_kw_requires_import": ["conv_op", "norm_op", "nonlin"],
            },
        }
    )


if __name__ == "__main__":
    main()
