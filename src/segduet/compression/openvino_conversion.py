"""From a joint network to the two OpenVINO graphs that `core/runtime.py` describes.

B windows, C image channels, N windows or cases, S sums of a head.
"""

import contextlib
import itertools
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import openvino
import torch
from openvino._offline_transformations import apply_moc_transformations
from openvino.frontend import FrontEndManager, GeneralFailure, OpConversionFailure
from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder
from torch import Tensor, nn

from segduet.compression.described_network import describe_fp32
from segduet.compression.openvino_files import write_graph
from segduet.core.errors import RequestError
from segduet.core.runtime import (
    IMAGE,
    SHARES,
    ConvertedNetwork,
    RuntimeFormat,
    heads_outputs,
    sums_name,
    window_outputs,
)
from segduet.core.tasks import TaskSpec
from segduet.networks.export_views import HeadsView, WindowView, total_strides
from segduet.networks.joint import JointNetwork

WINDOWS_FILE, HEADS_FILE = "windows.xml", "heads.xml"

_trace: Any = torch.jit.trace  # has no types
_FREE = -1  # OpenVINO's word for a size that is not fixed
_LEAST_CELLS = 2  # of the deepest features; instance normalisation refuses a single one
_UNKNOWN = re.compile(r"(?:No conversion rule found for operations|failed for): (?P<names>.+)")


def convert_to_openvino(
    network: JointNetwork,
    target: Path,
    *,
    tasks: Sequence[TaskSpec],
    num_channels: int,
    patch_size: tuple[int, ...],
) -> ConvertedNetwork:
    """Writes a network as OpenVINO graphs in fp32, `windows.xml` and, with tasks, `heads.xml`.

    The batch is free; so are the spatial sizes, as multiples of the network's total stride. Where
    the patch is no such multiple (QuickNAT and ResNet-18 allow it) any size will do. The weights
    go, uncompressed, to `.bin` files beside. Nothing is sent anywhere.

    Args:
        network: on the CPU, in evaluation mode, deep supervision off.
        target: folder of the files, made where needed; each file is written atomically.
        tasks: what the network answers, in its own order.
        num_channels: image channels C.
        patch_size: (z, y, x) or (y, x).

    Raises:
        RequestError: the network has an operation that OpenVINO does not.
        StorageError: a file cannot be written.
    """
    converted = describe_fp32(
        network,
        tasks,
        runtime=RuntimeFormat.OPENVINO,
        windows_file=WINDOWS_FILE,
        heads_file=HEADS_FILE,
        total_strides=total_strides(network, num_channels, len(patch_size)),
    )
    example = _example(num_channels, patch_size, converted.total_strides)
    outputs = window_outputs(len(tasks), with_masks=converted.with_masks)
    windows = _graph(WindowView(network), {IMAGE: example[0], SHARES: example[1]}, outputs)
    write_graph(windows, target / WINDOWS_FILE)
    if tasks:
        sums = _example_sums(network, example)
        heads = _graph(HeadsView(network), sums, heads_outputs(len(tasks)))
        write_graph(heads, target / HEADS_FILE)
    return converted


def _example(
    num_channels: int, patch_size: tuple[int, ...], strides: tuple[int, ...]
) -> tuple[Tensor, Tensor]:
    """A small window to trace with, and its shares.

    Tracing keeps the one way of pooling that the example takes (`networks.pooling.owned_weights`):
    the fast one for sizes that all strides divide, which a multiple of the total stride is; or the
    one for any size, which a prime makes sure of.
    """
    pairs = list(zip(patch_size, strides, strict=True))
    spatial = [_LEAST_CELLS * stride for stride in strides]
    if any(length % stride for length, stride in pairs):
        spatial = [_next_prime(length) for length in spatial]
    return torch.zeros(1, num_channels, *spatial), torch.ones(1, 1, *spatial)


def _next_prime(above: int) -> int:
    candidates = itertools.count(above + 1)
    return next(n for n in candidates if all(n % d for d in range(2, n)))


def _example_sums(network: JointNetwork, example: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    with torch.no_grad():
        sums = network(*example).case_sums
    return {sums_name(i): sums[task] for i, task in enumerate(network.tasks)}


def _graph(view: nn.Module, inputs: dict[str, Tensor], outputs: list[str]) -> openvino.Model:
    """The view's graph, with named inputs and outputs and only the channels fixed.

    Raises:
        RequestError: an operation OpenVINO does not know.
    """
    try:
        with torch.no_grad(), _quiet_tracer():
            traced = _trace(view, tuple(inputs.values()), strict=False, check_trace=False)
        # `openvino.convert_model` does the same, but sends reports about it.
        decoder = TorchScriptPythonDecoder(traced)
        frontend = FrontEndManager().load_by_framework("pytorch")
        loaded = frontend.load(decoder)
        graph = frontend.convert(loaded)
    except (RuntimeError, GeneralFailure, OpConversionFailure) as error:
        raise RequestError(
            "conversion to OpenVINO",
            found=f"a network it cannot express: {_reason(error)}",
            expected="operations that OpenVINO knows",
            remedy="Use --engine torch, which runs every network.",
        ) from error
    _name(graph, inputs, outputs)
    # Folds what tracing spelt out; without it a reader has nine times the operations to go through.
    apply_moc_transformations(graph, cf=False, smart_reshape=True)
    return graph


def _name(graph: openvino.Model, inputs: dict[str, Tensor], outputs: list[str]) -> None:
    for port, (name, tensor) in zip(graph.inputs, inputs.items(), strict=True):
        free = [_FREE] * (tensor.ndim - 2)
        port.get_node().set_partial_shape(openvino.PartialShape([_FREE, tensor.shape[1], *free]))
        port.get_node().set_friendly_name(name)
        port.get_tensor().set_names({name})
    for port, name in zip(graph.outputs, outputs, strict=True):
        port.get_node().set_friendly_name(name)
        port.get_tensor().set_names({name})
    graph.validate_nodes_and_infer_types()


@contextlib.contextmanager
def _quiet_tracer() -> Iterator[None]:
    """Hides that tracing is deprecated (OpenVINO needs it) and that it fixes a choice: we know."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"`torch\.jit\.", category=DeprecationWarning)
        warnings.filterwarnings("ignore", message="(Converting|Iterating over) a tensor")
        yield


def _reason(error: Exception) -> str:
    unknown = _UNKNOWN.search(str(error))
    return unknown["names"].strip() if unknown else str(error).strip().partition("\n")[0]
