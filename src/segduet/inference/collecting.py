"""Windows out of a case, and what its heads know of them. Shapes are (z, y, x)."""

from collections.abc import Mapping, Sequence

import numpy as np

from segduet.inference.answering import CaseKnowledge
from segduet.inference.mirroring import MirroredAnswers, WindowBatch
from segduet.windows.shares import WindowShares
from segduet.windows.tiles import Shape, SpatialBox, Start, window_parts


class WindowCutter:
    """Cuts windows out of an image, each with its voxels' shares.

    Where a window leaves the image it is filled up with zeros; the image itself is not padded.

    Args:
        image: (C, Z, Y, X) float32.
        patch: shape of a window.
        box: where the image lies in one padded to at least the patch.
        shares: of the voxels; None where every window answers by itself and owns all its voxels,
            or where no head asks.
    """

    def __init__(
        self, image: np.ndarray, patch: Shape, box: SpatialBox, shares: WindowShares | None
    ) -> None:
        self._image, self._patch, self._box, self._shares = image, patch, box, shares
        self._batch = WindowBatch(
            image=np.empty((0, len(image), *patch), np.float32),
            shares=np.empty((0, 1, *patch), np.float32),
        )

    def windows(self, starts: Sequence[Start]) -> WindowBatch:
        """The windows that begin at `starts`, until the next ones are asked for."""
        n = len(starts)
        if n > len(self._batch.image):
            # zeros once: padded images have one window along the axis, always padded alike
            self._batch = WindowBatch(
                image=np.zeros((n, len(self._image), *self._patch), np.float32),
                shares=np.ones((n, 1, *self._patch), np.float32),
            )
        batch = WindowBatch(image=self._batch.image[:n], shares=self._batch.shares[:n])
        for image, share, start in zip(batch.image, batch.shares, starts, strict=True):
            in_window, in_image = window_parts(start, self._patch, self._box)
            image[:, *in_window] = self._image[:, *in_image]
            if self._shares is not None:
                share[0] = self._shares.at(start)
        return batch

    def put_together(
        self,
        wholes: dict[str, np.ndarray],
        starts: Sequence[Start],
        windows: Mapping[str, np.ndarray],
    ) -> None:
        """Adds windows (B, z, y, x) that hold their shares to maps of the image.

        Args:
            wholes: name -> (Z, Y, X) float32, changed in place; made where it is missing.
            starts: first voxel of each window.
            windows: name -> (B, z, y, x) float32.
        """
        for name, batch in windows.items():
            whole = wholes.setdefault(name, np.zeros(self._image.shape[1:], dtype=np.float32))
            for start, window in zip(starts, batch, strict=True):
                in_window, in_image = window_parts(start, self._patch, self._box)
                whole[in_image] += window[in_window]


class CollectedSums:
    """The few numbers that heads know of each window."""

    def __init__(self) -> None:
        self._sums: dict[str, list[np.ndarray]] = {}
        self._evidence: dict[str, list[np.ndarray]] = {}

    def add(self, answers: MirroredAnswers) -> None:
        """Adds a batch of windows."""
        for task in answers.sums:
            self._sums.setdefault(task, []).append(answers.sums[task])
            self._evidence.setdefault(task, []).append(answers.evidence[task])

    def knowledge(self, image_voxels: np.ndarray) -> CaseKnowledge:
        """What the heads know of all windows, which hold this many voxels of the image each."""
        return CaseKnowledge(
            sums={task: np.concatenate(v) for task, v in self._sums.items()},
            evidence={task: np.concatenate(v) for task, v in self._evidence.items()},
            image_voxels=image_voxels,
        )
