"""What every runtime of converted networks does alike: named graphs in, both answers out."""

from collections.abc import Mapping, Sequence
from typing import NoReturn, Protocol

import numpy as np

from segduet.core.errors import RequestError
from segduet.core.runtime import (
    IMAGE,
    LOGITS,
    SHARES,
    ConvertedNetwork,
    answer_names,
    evidence_name,
    heads_outputs,
    sums_name,
    window_outputs,
)
from segduet.inference.engine import HeadAnswers, WindowAnswers


class GraphRefusalError(Exception):
    """A runtime does not take these inputs; its text is the runtime's reason."""


class Graph(Protocol):
    """One graph, loaded by its runtime; several threads may run it at once."""

    def run(
        self, inputs: Mapping[str, np.ndarray], outputs: Sequence[str]
    ) -> Mapping[str, np.ndarray]:
        """Outputs of these names, in memory of their own.

        Raises:
            MemoryError: not enough memory.
            GraphRefusalError: inputs that the graph does not take.
        """


class ConvertedEngine:
    """Runs the two graphs that `core/runtime.py` describes.

    Args:
        converted: the network.
        windows: its graph of the windows.
        heads: its graph of the heads; None for a network that answers no task.
        name: runtime, device and precision.
    """

    def __init__(
        self, converted: ConvertedNetwork, *, windows: Graph, heads: Graph | None, name: str
    ) -> None:
        self._converted = converted
        self._windows: Graph | None = windows
        self._heads = heads
        self._name = name

    @property
    def name(self) -> str:
        """Runtime, device and precision, for manifests and messages."""
        return self._name

    @property
    def num_spatial_dims(self) -> int:
        """2 or 3, as the network's convolutions."""
        return self._converted.num_spatial_dims

    def predict(self, windows: np.ndarray, shares: np.ndarray) -> WindowAnswers:
        """Answers a batch of windows (B, C, Z, Y, X) with shares (B, 1, Z, Y, X), both float32.

        Raises:
            RequestError: not enough memory for the batch, or windows the network does not take.
        """
        assert self._windows is not None, "the engine is closed"
        tasks = self._converted.tasks
        names = window_outputs(len(tasks), with_masks=self._converted.with_masks)
        inputs = {IMAGE: self._planar(windows), SHARES: self._planar(shares)}
        outputs = self._run(self._windows, inputs, names, what=f"windows {windows.shape}")
        return WindowAnswers(
            logits=self._logits(outputs, windows.shape),
            sums={task.name: outputs[sums_name(i)] for i, task in enumerate(tasks)},
            evidence={task.name: outputs[evidence_name(i)] for i, task in enumerate(tasks)},
        )

    def answer(self, sums: Mapping[str, np.ndarray]) -> HeadAnswers:
        """Answers of all tasks from sums (N, S), in float32 whatever the precision."""
        tasks = self._converted.tasks
        if not tasks:
            return HeadAnswers(logits={}, features={})
        assert self._heads is not None, "the engine is closed"
        inputs = {
            sums_name(i): np.ascontiguousarray(sums[task.name], dtype=np.float32)
            for i, task in enumerate(tasks)
        }
        outputs = self._run(self._heads, inputs, heads_outputs(len(tasks)), what="sums of windows")
        per_task = {task.name: answer_names(i) for i, task in enumerate(tasks)}
        return HeadAnswers(
            logits={task: outputs[logits] for task, (logits, _) in per_task.items()},
            features={task: outputs[features] for task, (_, features) in per_task.items()},
        )

    def attend(
        self, windows: np.ndarray, shares: np.ndarray, case_sums: Mapping[str, np.ndarray]
    ) -> NoReturn:
        """Maps of attention are not part of a converted network.

        Raises:
            RequestError: always.
        """
        del windows, shares, case_sums  # what the protocol gives
        raise RequestError(
            f"engine {self.name}",
            found="a wish for maps of attention",
            expected="answers only: converted networks do not give such maps",
            remedy="Use --engine torch, or leave --attention out.",
        )

    def close(self) -> None:
        """Lets go of the graphs, their memory and their threads."""
        self._windows = self._heads = None

    def _planar(self, windows: np.ndarray) -> np.ndarray:
        """(B, C, Z, Y, X), or (B, C, Y, X) for a 2D network."""
        return windows[:, :, 0] if self.num_spatial_dims == 2 else windows

    def _logits(
        self, outputs: Mapping[str, np.ndarray], window_shape: tuple[int, ...]
    ) -> np.ndarray:
        batch, _, *spatial = window_shape
        if not self._converted.with_masks:
            return np.zeros((batch, 0, *spatial), dtype=np.float32)
        return outputs[LOGITS].reshape(batch, -1, *spatial)

    def _run(
        self, graph: Graph, inputs: Mapping[str, np.ndarray], outputs: Sequence[str], *, what: str
    ) -> Mapping[str, np.ndarray]:
        try:
            return graph.run(inputs, outputs)
        except MemoryError as error:
            raise RequestError(
                f"engine {self.name}",
                found=f"not enough memory for {what}",
                expected="memory for one batch of windows and the network's activations",
                remedy="Use a smaller tile batch, a smaller --precision, or another device.",
            ) from error
        except GraphRefusalError as error:
            raise RequestError(
                f"engine {self.name}",
                found=f"{what}, which the runtime refused: {error}",
                expected="the network's channels, and sizes that are multiples of its total stride",
                remedy="Check the image against the model; --engine torch runs every network.",
            ) from error
