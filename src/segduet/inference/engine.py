"""What every runtime offers: windows in, both answers out, as numpy arrays.

B batch, C channels, K segmentation heads; windows are (B, C, Z, Y, X), Z = 1 for a 2D network.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowAnswers:
    """What a network says about a batch of windows, from one pass through its encoder.

    Attributes:
        logits: (B, K, Z, Y, X) float32 segmentation logits.
        case_logits: task name -> (B, num_classes) float32; empty for a plain nnU-Net.
        evidence: task name -> (B,) float32 >= 0, predicted voxels of what the task is about.
    """

    logits: np.ndarray
    case_logits: Mapping[str, np.ndarray] = field(default_factory=dict)
    evidence: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        assert self.logits.ndim == 5, self.logits.shape
        assert self.case_logits.keys() == self.evidence.keys(), (self.case_logits, self.evidence)


class Engine(Protocol):
    """A network ready to run on one device."""

    @property
    def name(self) -> str:
        """Runtime, device and precision, for manifests and messages."""

    @property
    def num_spatial_dims(self) -> int:
        """2 or 3, as the network's convolutions."""

    def predict(self, windows: np.ndarray) -> WindowAnswers:
        """Answers a batch of windows (B, C, Z, Y, X) float32, C-contiguous."""

    def close(self) -> None:
        """Frees the network's memory; the engine cannot be used afterwards."""
