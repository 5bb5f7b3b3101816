"""What is known of a network's modules after one pass, as plain records; no torch here."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleRecord:
    """One module that has parameters of its own or no modules below it.

    Attributes:
        name: path in the network, such as `encoder.stages.0.0.convs.0.conv`.
        kind: class name.
        output_shape: (C, *spatial) or (K,) of the last tensor it returned, without the batch;
            empty where it did not run.
        num_parameters: its own; one shared with an earlier module is counted there.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...]
    num_parameters: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockRecord:
    """A group of modules that is worth a box of its own, such as one stage.

    Attributes:
        name: path of the group.
        part: path of what it belongs to: encoder, decoder, or the head of a task.
        kind: class name.
        output_shape: as in `ModuleRecord`, of the group.
        num_parameters: of all modules in it.
        position: place in the order in which the blocks first ran, from 0.
    """

    name: str
    part: str
    kind: str
    output_shape: tuple[int, ...]
    num_parameters: int
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSummary:
    """A network as it ran on one window.

    Attributes:
        input_shape: (C, *spatial) of the window.
        modules: in the order of the module tree.
        blocks: in the order in which they first ran; those that did not run come last.
    """

    input_shape: tuple[int, ...]
    modules: tuple[ModuleRecord, ...]
    blocks: tuple[BlockRecord, ...]

    @property
    def num_parameters(self) -> int:
        """Parameters of the whole network."""
        return sum(module.num_parameters for module in self.modules)
