"""The real module tree of a network, with the shapes seen in one pass (F97)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from segduet.networks.module_record import BlockRecord, ModuleRecord, NetworkSummary

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def summarize_network(
    network: nn.Module, *, num_channels: int, patch: Sequence[int]
) -> NetworkSummary:
    """Runs one window of zeros and records every module and block.

    The network's mode, weights and running statistics stay as they are.

    Args:
        network: takes (1, C, *spatial) float32; runs on the device of its parameters.
        num_channels: C.
        patch: spatial size of the window.
    """
    shapes = _observed_shapes(network, (num_channels, *patch))
    modules = _modules(network, shapes)
    return NetworkSummary(
        input_shape=(num_channels, *patch),
        modules=modules,
        blocks=_blocks(network, modules, shapes),
    )


def _observed_shapes(
    network: nn.Module, input_shape: tuple[int, ...]
) -> dict[str, tuple[int, ...]]:
    """Output shape of every module that ran and returned a tensor, in the order of first return."""
    shapes: dict[str, tuple[int, ...]] = {}
    device = next(network.parameters()).device
    was_training = network.training
    network.eval()
    try:
        with _hooked(network, shapes), torch.no_grad():
            network(torch.zeros((1, *input_shape), device=device))
    finally:
        network.train(was_training)
    return shapes


@contextmanager
def _hooked(network: nn.Module, shapes: dict[str, tuple[int, ...]]) -> Iterator[None]:
    handles = [
        module.register_forward_hook(_recorder(name, shapes))
        for name, module in network.named_modules()
        if name
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _recorder(name: str, shapes: dict[str, tuple[int, ...]]) -> Any:
    def record(_module: nn.Module, _inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            shapes[name] = tuple(output.shape[1:])

    return record


def _modules(network: nn.Module, shapes: dict[str, tuple[int, ...]]) -> tuple[ModuleRecord, ...]:
    counted: set[int] = set()
    records = []
    for name, module in network.named_modules():
        own = [p for p in module.parameters(recurse=False) if id(p) not in counted]
        counted.update(id(p) for p in own)
        is_leaf = next(module.children(), None) is None and not isinstance(module, _CONTAINERS)
        if own or (is_leaf and name in shapes):
            records.append(
                ModuleRecord(
                    name=name,
                    kind=type(module).__name__,
                    output_shape=shapes.get(name, ()),
                    num_parameters=sum(p.numel() for p in own),
                )
            )
    return tuple(records)


def _blocks(
    network: nn.Module, modules: Sequence[ModuleRecord], shapes: dict[str, tuple[int, ...]]
) -> tuple[BlockRecord, ...]:
    members: dict[str, list[ModuleRecord]] = {}
    for module in modules:
        members.setdefault(_block_of(network, module.name), []).append(module)
    order = {name: place for place, name in enumerate(shapes)}
    last = len(order)

    def first_run(block: str) -> int:
        return min(order.get(module.name, last) for module in members[block])

    return tuple(
        BlockRecord(
            name=block,
            part=_part_of(network, block),
            kind=type(network.get_submodule(block)).__name__,
            output_shape=_block_shape(block, members[block], shapes),
            num_parameters=sum(module.num_parameters for module in members[block]),
            position=position,
        )
        for position, block in enumerate(sorted(members, key=first_run))
    )


def _block_shape(
    block: str, members: Sequence[ModuleRecord], shapes: dict[str, tuple[int, ...]]
) -> tuple[int, ...]:
    """What the block returned or, where it is never called as a whole, its last module that ran."""
    own = {module.name for module in members}
    ran = [shape for name, shape in shapes.items() if name in own]
    return shapes.get(block) or (ran[-1] if ran else ())


def _part_of(network: nn.Module, name: str) -> str:
    """The top-level child it lies in; of a dictionary of heads, the head."""
    path = name.split(".")
    depth = 1
    while depth < len(path) and isinstance(_at(network, path[:depth]), nn.ModuleDict):
        depth += 1
    return ".".join(path[:depth])


def _block_of(network: nn.Module, name: str) -> str:
    """The first module below its part that does something itself; a head is one block."""
    path, part = name.split("."), _part_of(network, name).split(".")
    if len(part) > 1 or len(path) == 1:
        return ".".join(part)
    depth = len(part) + 1
    while depth < len(path) and isinstance(_at(network, path[:depth]), _CONTAINERS):
        depth += 1
    return ".".join(path[:depth])


def _at(network: nn.Module, path: Sequence[str]) -> nn.Module:
    return network.get_submodule(".".join(path))
