"""What every runtime offers: windows in, both answers out, as numpy arrays.

B batch, C channels, K segmentation heads, N windows or cases, S sums of a head; windows are
(B, C, Z, Y, X), Z = 1 for a 2D network.

A runtime has two parts: the network, whose heads give sums over the voxels of a window, and the
heads' last layers, which turn sums (of a window, or added up over a case) into answers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from segduet.core.tasks import TaskSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowAnswers:
    """What a network says about a batch of windows, from one pass through its encoder.

    Attributes:
        logits: (B, K, Z, Y, X) float32 segmentation logits; K = 0 for a network that only
            classifies.
        sums: task name -> (B, S) float32, what its head knows of each window; over the windows of
            a case they add up to what it knows of the case. Empty for a plain nnU-Net.
        evidence: task name -> (B,) float32 >= 0, predicted voxels of what the task is about.
    """

    logits: np.ndarray
    sums: Mapping[str, np.ndarray] = field(default_factory=dict)
    evidence: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        assert self.logits.ndim == 5, self.logits.shape
        assert self.sums.keys() == self.evidence.keys(), (self.sums, self.evidence)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadAnswers:
    """What the heads make of sums.

    Attributes:
        logits: task name -> (N, num_outputs) float32.
        features: task name -> (N, F) float32, the pooled and normalised vector of each.
    """

    logits: Mapping[str, np.ndarray]
    features: Mapping[str, np.ndarray]


class Engine(Protocol):
    """A network ready to run on one device."""

    @property
    def name(self) -> str:
        """Runtime, device and precision, for manifests and messages."""

    @property
    def num_spatial_dims(self) -> int:
        """2 or 3, as the network's convolutions."""

    def predict(self, windows: np.ndarray, shares: np.ndarray) -> WindowAnswers:
        """Answers a batch of windows.

        Args:
            windows: (B, C, Z, Y, X) float32, C-contiguous.
            shares: (B, 1, Z, Y, X) float32 in [0, 1], C-contiguous: each voxel's share of this
                window in its case.
        """

    def answer(self, sums: Mapping[str, np.ndarray]) -> HeadAnswers:
        """Answers of all tasks from sums (N, S) of windows or of whole cases."""

    def attend(
        self, windows: np.ndarray, shares: np.ndarray, case_sums: Mapping[str, np.ndarray]
    ) -> Mapping[str, np.ndarray]:
        """How much of each answer for the case rests on each voxel of its windows.

        Args:
            windows: as in `predict`.
            shares: as in `predict`.
            case_sums: task name -> (S,), sums of all windows of the case.

        Returns:
            Task name -> (B, Z, Y, X) float32 >= 0; over all windows of the case they sum to 1.
            Only of heads that attend.
        """

    def close(self) -> None:
        """Frees the network's memory; the engine cannot be used afterwards."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One network of an ensemble, ready to run.

    Attributes:
        engine: runs it.
        tasks: what it answers about a case; may be empty. The members of an ensemble answer the
            same questions, but a regression has the scale of each member's own training cases.
    """

    engine: Engine
    tasks: tuple[TaskSpec, ...] = ()
