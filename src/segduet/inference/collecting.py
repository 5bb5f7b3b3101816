"""Windows out of a case, and their answers put together again. Shapes are (z, y, x)."""

from collections.abc import Mapping, Sequence

import numpy as np

from segduet.inference.answering import CaseKnowledge
from segduet.inference.mirroring import MirroredAnswers, WindowBatch
from segduet.inference.shares import WindowShares
from segduet.windows.accumulation import TileAccumulator
from segduet.windows.tiles import Shape, Start, region_at


class WindowCutter:
    """Cuts windows out of an image, each with its voxels' shares.

    Args:
        image: (C, Z, Y, X) float32, at least as large as the patch.
        patch: shape of a window.
        shares: of the voxels; None where every window answers by itself and owns all its voxels.
    """

    def __init__(self, image: np.ndarray, patch: Shape, shares: WindowShares | None) -> None:
        self._image, self._patch, self._shares = image, patch, shares

    def windows(self, starts: Sequence[Start]) -> WindowBatch:
        """The windows that begin at `starts`."""
        image = np.stack([self._image[:, *region_at(start, self._patch)] for start in starts])
        if self._shares is None:
            shares = np.ones((len(starts), *self._patch), dtype=np.float32)
        else:
            shares = np.stack([self._shares.at(start) for start in starts])
        return WindowBatch(image=image, shares=shares[:, None])

    def put_together(
        self,
        wholes: dict[str, np.ndarray],
        starts: Sequence[Start],
        windows: Mapping[str, np.ndarray],
    ) -> None:
        """Adds windows (B, Z, Y, X) that hold their shares to maps of the padded image.

        Args:
            wholes: name -> (Z, Y, X) float32, changed in place; made where it is missing.
            starts: first voxel of each window.
            windows: name -> (B, z, y, x) float32.
        """
        for name, batch in windows.items():
            whole = wholes.setdefault(name, np.zeros(self._image.shape[1:], dtype=np.float32))
            for start, window in zip(starts, batch, strict=True):
                whole[region_at(start, self._patch)] += window


class CollectedAnswers:
    """The answers of all windows: masks are blended at once, the few numbers of heads are kept.

    Args:
        shape: of the padded image.
        patch: of a window.
    """

    def __init__(self, shape: Shape, patch: Shape) -> None:
        self._shape, self._patch = shape, patch
        self._accumulator: TileAccumulator | None = None
        self._sums: dict[str, list[np.ndarray]] = {}
        self._evidence: dict[str, list[np.ndarray]] = {}

    def add(self, starts: Sequence[Start], answers: MirroredAnswers) -> None:
        """Adds the windows that begin at `starts`."""
        if self._accumulator is None:
            num_heads = answers.logits.shape[1]
            self._accumulator = TileAccumulator.in_numpy(num_heads, self._shape, self._patch)
        for start, logits in zip(starts, answers.logits, strict=True):
            self._accumulator.add(logits, start)
        for task in answers.sums:
            self._sums.setdefault(task, []).append(answers.sums[task])
            self._evidence.setdefault(task, []).append(answers.evidence[task])

    def logits(self) -> np.ndarray:
        """Blended logits (K, Z, Y, X)."""
        assert self._accumulator is not None, "an image has at least one window"
        logits: np.ndarray = self._accumulator.finish()
        return logits

    def knowledge(self, image_voxels: np.ndarray) -> CaseKnowledge:
        """What the heads know."""
        return CaseKnowledge(
            sums={task: np.concatenate(v) for task, v in self._sums.items()},
            evidence={task: np.concatenate(v) for task, v in self._evidence.items()},
            image_voxels=image_voxels,
        )
