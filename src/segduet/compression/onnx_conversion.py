"""From a joint network to the two ONNX graphs that `core/runtime.py` describes.

B windows, C image channels, N windows or cases, S sums of a head.
"""

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import nn
from torch.export import Dim

from segduet.compression.described_network import describe_fp32
from segduet.core.errors import RequestError
from segduet.core.files import write_bytes
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

#: Version of ONNX's operators: the one torch's exporter is written in, so nothing is translated
#: afterwards; ONNX Runtime reads it since 1.14.
OPSET = 18

WINDOWS_FILE, HEADS_FILE = "windows.onnx", "heads.onnx"

_LARGEST_FILE = 2**31 - 2**20  # bytes; a protobuf message ends at 2 GiB, the graph itself is small

# A size per axis as torch.export wants it: free, a multiple of a free size, or fixed (None).
_Sizes = dict[int, Any]


def convert_to_onnx(
    network: JointNetwork,
    target: Path,
    *,
    tasks: Sequence[TaskSpec],
    num_channels: int,
    patch_size: tuple[int, ...],
) -> ConvertedNetwork:
    """Writes a network as ONNX graphs in fp32, `windows.onnx` and, with tasks, `heads.onnx`.

    The batch is free; so are the spatial sizes, as multiples of the network's total stride. An
    axis along which the patch is no such multiple (QuickNAT and ResNet-18 allow it) keeps the
    patch's size. Instance normalisation stays one operator, which runtimes have fast kernels for.

    Args:
        network: on the CPU, in evaluation mode, deep supervision off.
        target: folder of the files, made where needed; each file is written atomically.
        tasks: what the network answers, in its own order.
        num_channels: image channels C.
        patch_size: (z, y, x) or (y, x).

    Raises:
        RequestError: a network that cannot be expressed in ONNX, or is too large for one file.
        StorageError: a file cannot be written.
    """
    converted = describe_fp32(
        network,
        tasks,
        runtime=RuntimeFormat.ONNX,
        windows_file=WINDOWS_FILE,
        heads_file=HEADS_FILE,
        total_strides=total_strides(network, num_channels, len(patch_size)),
    )
    _require_fit(network)
    outputs = window_outputs(len(tasks), with_masks=converted.with_masks)
    sizes, example = _free_sizes(patch_size, converted.total_strides)
    # Two windows: torch.export takes a single one for a constant.
    image, shares = torch.zeros(2, num_channels, *example), torch.ones(2, 1, *example)
    windows = _exported(
        WindowView(network),
        (image, shares),
        sizes={IMAGE: sizes, SHARES: sizes},
        outputs=outputs,
    )
    _write(target / WINDOWS_FILE, windows)
    if tasks:
        widths = {output.name: _width(output) for output in windows.graph.output}
        _write(target / HEADS_FILE, _heads_graph(network, widths))
    return converted


def _heads_graph(network: JointNetwork, widths: dict[str, int]) -> onnx.ModelProto:
    names = [sums_name(i) for i in range(len(network.tasks))]
    sums = tuple(torch.ones(2, widths[name]) for name in names)
    free: _Sizes = {0: Dim("cases")}
    return _exported(
        HeadsView(network),
        sums,
        sizes=dict.fromkeys(names, free),
        outputs=heads_outputs(len(names)),
    )


def _free_sizes(patch_size: tuple[int, ...], strides: tuple[int, ...]) -> tuple[_Sizes, list[int]]:
    """Which sizes are free, and spatial sizes to trace with: all different, none of them 1."""
    sizes: _Sizes = {0: Dim("windows")}
    example = list(patch_size)
    for axis, (length, stride) in enumerate(zip(patch_size, strides, strict=True)):
        if length % stride == 0:
            sizes[2 + axis] = stride * Dim(f"cells_{axis}")
            example[axis] = stride * (2 + axis)
    return sizes, example


def _exported(
    view: nn.Module,
    examples: tuple[torch.Tensor, ...],
    *,
    sizes: dict[str, _Sizes],
    outputs: list[str],
) -> onnx.ModelProto:
    """The view's graph, checked.

    Args:
        view: a `WindowView` or a `HeadsView`.
        examples: one tensor per input.
        sizes: input name -> its free sizes.
        outputs: their names.

    Raises:
        RequestError: it cannot be expressed in ONNX.
    """
    try:
        with torch.no_grad(), _quiet_exporter():
            traced = torch.export.export(
                view.eval(), examples, dynamic_shapes=_as_arguments(view, sizes), strict=False
            )
            program: Any = torch.onnx.export(
                traced,
                dynamo=True,
                opset_version=OPSET,
                input_names=list(sizes),
                output_names=outputs,
                verbose=False,
            )
            graph: onnx.ModelProto = _without_traces(program.model_proto)
        onnx.checker.check_model(graph, full_check=True)
    except (RuntimeError, onnx.checker.ValidationError) as error:
        raise RequestError(
            "conversion to ONNX",
            found=f"a network it cannot express: {_cause(error)}",
            expected="operators of ONNX, and no decision that depends on the image's values",
            remedy="Use --engine torch, which runs every network.",
        ) from error
    return graph


def _as_arguments(view: nn.Module, sizes: dict[str, _Sizes]) -> Any:
    """Free sizes in the order of `forward`; those of `*sums` as one tuple."""
    in_order = tuple(sizes.values())
    return (in_order,) if isinstance(view, HeadsView) else in_order


def _without_traces(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Takes out where in whose folder every operator was traced: weight for nobody's use."""
    for part in (*graph.graph.node, *graph.graph.value_info, graph.graph):
        del part.metadata_props[:]
    return graph


@contextlib.contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Hides what torch's exporter says about its own code."""
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message=r"`isinstance\(treespec, LeafSpec\)`", category=FutureWarning
        )
        yield


def _require_fit(network: nn.Module) -> None:
    tensors = (*network.parameters(), *network.buffers())
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    if size > _LARGEST_FILE:
        raise RequestError(
            "conversion to ONNX",
            found=f"a network of {size / 2**30:.1f} GiB",
            expected="less than 2 GiB, the most one ONNX file holds",
            remedy="Use --engine openvino or torch.",
        )


def _write(target: Path, graph: onnx.ModelProto) -> None:
    write_bytes(target, graph.SerializeToString(deterministic=True))


def _width(output: onnx.ValueInfoProto) -> int:
    """Size of an output's second axis; 0 where it has one axis."""
    axes = output.type.tensor_type.shape.dim
    return int(axes[1].dim_value) if len(axes) > 1 else 0


def _cause(error: BaseException) -> str:
    """First line of the error that started it all; the exporter wraps it in pages of advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).strip().partition("\n")[0]
