"""Putting the answers of overlapping windows together, a few slices at a time.

K channels; windows and images are (K, Z, Y, X). Positions along z are those of the image, without
its padding.
"""

from collections.abc import Iterator
from concurrent.futures import Executor

import numpy as np

from segduet.windows.shares import WindowShares
from segduet.windows.tiles import Shape, SpatialBox, Start, window_parts

#: A window is added by so many threads: two have used up what the memory can deliver.
_NUM_PARTS = 2


class SlabBlender:
    """Weighted mean of windows that arrive from the first slice of an image to the last.

    A slice is handed out as soon as no later window reaches it. Only as many slices as a window is
    deep are held, in a ring: slice z lies in row `z % depth`. So the memory does not grow with the
    length of the image, and a slice is the same numbers whether its neighbours are kept or not.

    Args:
        num_channels: K of the windows.
        patch: shape of a window.
        box: where the image lies in the padded one.
        shares: weights of the windows, which sum to 1 in every voxel of the image.
        threads: add slices of a window side by side; which thread adds a slice changes no number.
    """

    def __init__(
        self,
        num_channels: int,
        *,
        patch: Shape,
        box: SpatialBox,
        shares: WindowShares,
        threads: Executor,
    ) -> None:
        self._threads = threads
        self._patch, self._box, self._shares = patch, box, shares
        self._num_slices, height, width = (inside.stop - inside.start for inside in box)
        self._depth = min(patch[0], self._num_slices)
        self._sums = np.zeros((num_channels, self._depth, height, width), np.float32)
        self._first_held = 0

    def add(self, window: np.ndarray, start: Start) -> None:
        """Adds a window (K, z, y, x) that begins at `start` of the padded image."""
        in_window, in_image = window_parts(start, self._patch, self._box)
        first = in_image[0].start
        assert self._first_held <= first <= self._first_held + self._depth, "windows out of order"
        num_slices = in_window[0].stop - in_window[0].start
        parts = [range(part, num_slices, _NUM_PARTS) for part in range(min(_NUM_PARTS, num_slices))]
        added = [self._threads.submit(self._add_slices, part, window, start) for part in parts[1:]]
        self._add_slices(parts[0], window, start)
        for part in added:
            part.result()

    def _add_slices(self, numbers: range, window: np.ndarray, start: Start) -> None:
        (in_z, in_y, in_x), (z, y, x) = window_parts(start, self._patch, self._box)
        z_shares, y_shares, x_shares = self._shares.along(start)
        plane = y_shares[in_y, None] * x_shares[in_x]
        # slice by slice: what is multiplied and added stays in the processor's cache
        weighted = np.empty((len(self._sums), *plane.shape), np.float32)
        for number in numbers:
            in_window = in_z.start + number
            np.multiply(window[:, in_window, in_y, in_x], plane * z_shares[in_window], out=weighted)
            blended = self._sums[:, (z.start + number) % self._depth, y, x]
            np.add(blended, weighted, out=blended)

    def finished_before(self, first: int) -> Iterator[np.ndarray]:
        """Blended slices that no window beginning at `first` (of the padded image) or later holds.

        Yields:
            (K, n, Y, X) float32, the next n slices of the image. The buffer is used again: a slab
            may be changed, but is only there until the next one is asked for.
        """
        stop = min(first - self._box[0].start, self._num_slices)
        while self._first_held < stop:
            row = self._first_held % self._depth
            length = min(stop - self._first_held, self._depth - row)
            slab = self._sums[:, row : row + length]
            yield slab
            self._first_held += length
            if self._first_held < self._num_slices:
                slab[...] = 0
