"""Resampling of an array that arrives slab by slab, from its first slice to its last.

K channels; slabs are (K, n, Y, X). Axes are z, y, x.
"""

from collections.abc import Iterator

import numpy as np

from segduet.preparation.resampling import Grids, ResamplingRule, axis_matrices

#: New slices made together: few enough for the processor's cache.
_SLICES = 2


class SlabResampler:
    """Makes new slices as soon as the old ones they are made of have arrived.

    Old slices that later ones need are kept, at most a few; whole channels on the new grid never
    exist.

    Args:
        grids: the old and the new grid.
        rule: how the array is resampled.
    """

    def __init__(self, grids: Grids, rule: ResamplingRule) -> None:
        self._z, self._y, self._x = axis_matrices(grids, rule)
        self._num_arrived = self._num_made = 0
        self._kept: np.ndarray | None = None
        # a later slice may need less than one before it: made in order all the same
        self._needed = np.maximum.accumulate(self._z.stops)
        self._still_needed = np.minimum.accumulate(self._z.firsts[::-1])[::-1]

    def add(self, slab: np.ndarray) -> Iterator[tuple[slice, Iterator[np.ndarray]]]:
        """Takes the next old slices and makes the new ones that are complete with them.

        Args:
            slab: (K, n, Y, X) float32; not needed once the iteration has ended.

        Yields:
            Which new slices, and their channels (m, Y', X') float32 one after the other, which may
            be views of the slab. Pairs do not depend on each other: any thread may take any.
        """
        self._num_arrived += slab.shape[1]
        num_complete = int(np.searchsorted(self._needed, self._num_arrived, side="right"))
        while self._num_made < num_complete:
            rows = slice(self._num_made, min(self._num_made + _SLICES, num_complete))
            yield rows, self._channels(slab, rows)
            self._num_made = rows.stop
        self._keep(slab)

    def _channels(self, slab: np.ndarray, rows: slice) -> Iterator[np.ndarray]:
        first = self._num_arrived - slab.shape[1]
        kept = slab[:, :0] if self._kept is None else self._kept
        return (self._new(old, before, first, rows) for old, before in zip(slab, kept, strict=True))

    def _new(self, slab: np.ndarray, kept: np.ndarray, first: int, rows: slice) -> np.ndarray:
        """New slices of a channel, from its slab that begins at `first` and what lies before."""
        old = self._z.sources(rows)
        slices = slab[max(old.start - first, 0) : max(old.stop - first, 0)]
        if old.start < first:
            kept_first = first - len(kept)
            slices = np.concatenate([kept[old.start - kept_first : old.stop - kept_first], slices])
        return self._x.along_x(self._y.along_y(self._z.combined(slices, rows)))

    def _keep(self, slab: np.ndarray) -> None:
        """Copies the old slices that new ones still need; the slab's memory is not ours."""
        is_done = self._num_made == len(self._still_needed)
        first = self._num_arrived if is_done else int(self._still_needed[self._num_made])
        num_kept = max(self._num_arrived - first, 0)
        before = [] if self._kept is None else [self._kept]
        if num_kept > slab.shape[1]:
            self._kept = np.concatenate([*before, slab], axis=1)[:, -num_kept:]
        else:
            self._kept = slab[:, slab.shape[1] - num_kept :].copy()
