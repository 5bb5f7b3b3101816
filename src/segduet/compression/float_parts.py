"""Which parts of a converted graph stay in float when it is quantised, by the graph's structure."""

from collections.abc import Callable, Iterable

import openvino

from segduet.core.runtime import IMAGE, LOGITS, SHARES

#: By name, since `==` between two of OpenVINO's nodes is not a comparison but a new node.
_Nodes = dict[str, openvino.Node]
_Step = Callable[[openvino.Node], _Nodes]

#: Operations with weights of their own.
_WEIGHTED = (
    "Convolution",
    "ConvolutionBackpropData",
    "GroupConvolution",
    "GroupConvolutionBackpropData",
    "MatMul",
)
_NORMALISING = "MVN"  # mean and variance normalisation


def float_operations(graph: openvino.Model, *, num_ends: int, with_norms: bool) -> list[str]:
    """Names of the operations that stay in float, sorted.

    All that follows from the shares, which is pooling over voxels, and all that only the heads
    compute (the way to their sums without the way to the masks). With one end, also the weighted
    operations that see the image first and those that the masks come out of; with more, those
    next to them, which work at the image's own resolution: there most of the rounding is done that
    reaches the masks.

    A normalisation by its own channels' statistics magnifies the rounding of channels of small
    range, as an activation has one step for all its channels; with the norms these stay in float.

    Args:
        graph: of the windows, see `core.runtime`.
        num_ends: how many weighted operations in a row stay in float at both ends; 0 or more.
        with_norms: whether instance normalisations stay in float.
    """
    image, shares = (_named([graph.input(name).get_node()]) for name in (IMAGE, SHARES))
    results = graph.get_results()
    masks, others = (
        _named(node for node in results if _is_mask(node) == wanted) for wanted in (True, False)
    )
    kept = _reached(shares, _consumers)
    if masks:
        towards_masks = _reached(masks, _producers)
        reached = _reached(others, _producers)
        kept |= {name: node for name, node in reached.items() if name not in towards_masks}
    kept |= _end(image, _consumers, num_ends) | _end(masks, _producers, num_ends)
    if with_norms:
        kept |= _named(n for n in graph.get_ordered_ops() if n.get_type_name() == _NORMALISING)
    passive = ("Parameter", "Result", "Constant")
    return sorted(name for name, node in kept.items() if node.get_type_name() not in passive)


def _reached(starts: _Nodes, step: _Step) -> _Nodes:
    """Everything that can be reached from the starts, themselves included."""
    found, waiting = dict(starts), list(starts.values())
    while waiting:
        new = {name: node for name, node in step(waiting.pop()).items() if name not in found}
        found |= new
        waiting += new.values()
    return found


def _end(starts: _Nodes, step: _Step, length: int) -> _Nodes:
    """Operations with weights that some way from the starts meets among its first `length`."""
    found: _Nodes = {}
    for _ in range(length):
        met = _first_weighted(starts, step)
        found |= met
        starts = {name: after for node in met.values() for name, after in step(node).items()}
    return found


def _first_weighted(starts: _Nodes, step: _Step) -> _Nodes:
    """The first operations with weights on every way from the starts."""

    def step_to_weights(node: openvino.Node) -> _Nodes:
        """Goes no further than an operation with weights."""
        return {} if node.get_type_name() in _WEIGHTED else step(node)

    reached = _reached(starts, step_to_weights)
    return {name: node for name, node in reached.items() if node.get_type_name() in _WEIGHTED}


def _consumers(node: openvino.Node) -> _Nodes:
    return _named(
        target.get_node() for output in node.outputs() for target in output.get_target_inputs()
    )


def _producers(node: openvino.Node) -> _Nodes:
    return _named(given.get_source_output().get_node() for given in node.inputs())


def _is_mask(result: openvino.Node) -> bool:
    return LOGITS in result.input(0).get_source_output().get_names()


def _named(nodes: Iterable[openvino.Node]) -> _Nodes:
    return {node.get_friendly_name(): node for node in nodes}
