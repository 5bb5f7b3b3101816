"""Channels brought to one range before they are normalised, so that 8 bits serve all of them alike.

Activations are quantised with one step for all channels. A channel of small range then gets few of
the 256 levels, and the instance normalisation after it magnifies its rounding. But normalisation
takes out every channel's scale and offset. So each channel of the convolution before it is divided
by its range and moved to 0, which changes next to nothing in float and much in 8 bits.

Source of equal ranges: Nagel et al. (2019), arXiv:1906.04721, section 4.1; there the layer after
takes the scale out again. C channels of a convolution.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import openvino
from openvino import opset13


@dataclass(frozen=True, slots=True, kw_only=True)
class _NormalisedConvolution:
    """A convolution with a bias that nothing reads but an instance normalisation."""

    convolution: openvino.Node
    bias: openvino.Node


def equalise(graph: openvino.Model, samples: Iterable[Mapping[str, np.ndarray]]) -> None:
    """Gives every channel that is normalised the range [-1, 1] over the samples.

    Changes the weights and biases of convolutions that end in an instance normalisation and
    nowhere else; others stay as they are, and so do channels without any range.

    Args:
        graph: in float32, changed in place.
        samples: inputs by name.
    """
    found = list(_normalised_convolutions(graph))
    if found:
        for pair, (lowest, highest) in zip(found, _ranges(graph, found, samples), strict=True):
            half = (highest - lowest) / 2
            _rescale(pair, centre=(highest + lowest) / 2, scale=np.where(half > 0, half, 1))


def _normalised_convolutions(graph: openvino.Model) -> Iterator[_NormalisedConvolution]:
    for norm in graph.get_ordered_ops():
        if norm.get_type_name() != "MVN":
            continue
        bias = _source(norm, 0)
        if _is_read_once(bias, "Add") and _source(bias, 1).get_type_name() == "Constant":
            convolution = _source(bias, 0)
            is_plain = _is_read_once(convolution, "Convolution")
            if is_plain and _source(convolution, 1).get_type_name() == "Constant":
                yield _NormalisedConvolution(convolution=convolution, bias=bias)


def _source(node: openvino.Node, index: int) -> openvino.Node:
    return node.input(index).get_source_output().get_node()


def _is_read_once(node: openvino.Node, kind: str) -> bool:
    return node.get_type_name() == kind and len(node.output(0).get_target_inputs()) == 1


def _ranges(
    graph: openvino.Model,
    found: list[_NormalisedConvolution],
    samples: Iterable[Mapping[str, np.ndarray]],
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Lowest and highest value (C,) of every channel over all samples."""
    num_dims = len(found[0].bias.output(0).get_partial_shape())
    all_but_channels = opset13.constant(np.array([0, *range(2, num_dims)], dtype=np.int64))
    results = [
        opset13.result(reduce(pair.bias.output(0), all_but_channels, keep_dims=False))
        for pair in found
        for reduce in (opset13.reduce_min, opset13.reduce_max)
    ]
    probe = openvino.Model(results, graph.get_parameters(), "ranges")
    # the default would be bf16 where the processor has it
    compiled = openvino.Core().compile_model(probe, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    measured = [[np.array(value) for value in compiled(dict(s)).values()] for s in samples]
    return [
        (
            np.min([values[2 * i] for values in measured], axis=0),
            np.max([values[2 * i + 1] for values in measured], axis=0),
        )
        for i in range(len(found))
    ]


def _rescale(pair: _NormalisedConvolution, *, centre: np.ndarray, scale: np.ndarray) -> None:
    """Makes every channel x of the convolution with its bias (x - centre) / scale."""
    weights, bias = _source(pair.convolution, 1), _source(pair.bias, 1)
    divisor = scale.reshape(-1, *[1] * (len(weights.data.shape) - 1))
    moved = (bias.data.reshape(-1) - centre) / scale
    _replace(pair.convolution, weights, weights.data / divisor)
    _replace(pair.bias, bias, moved.reshape(bias.data.shape))


def _replace(node: openvino.Node, constant: openvino.Node, value: np.ndarray) -> None:
    replacement = opset13.constant(value.astype(np.float32))
    replacement.set_friendly_name(constant.get_friendly_name())
    node.input(1).replace_source_output(replacement.output(0))
