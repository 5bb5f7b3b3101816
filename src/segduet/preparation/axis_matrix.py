"""A linear map along one axis of an array, such as interpolation, applied by small products."""

import numpy as np

#: Weights below this are left out: of numbers up to 10 they move less than float32 rounds off.
_SMALLEST_WEIGHT = 1e-9

#: New positions worked out together. Small products leave out the old positions without weight, and
#: the BLAS runs them in the calling thread: threads of its own that wait for each other after every
#: product come to a near standstill where other programs compute too.
_BLOCK = 16

#: Multiplications of a product that the BLAS runs in the calling thread (OpenBLAS: 4 x 65536).
_SMALL_PRODUCT = 2**18


class AxisMatrix:
    """A (new, old) matrix of which each row has weights near the diagonal only.

    Args:
        dense: (new, old) float32.
    """

    def __init__(self, dense: np.ndarray) -> None:
        self._dense = np.where(np.abs(dense) < _SMALLEST_WEIGHT, np.float32(0), dense)
        self.num_new, num_old = dense.shape
        self.is_identity = self.num_new == num_old and np.array_equal(self._dense, np.eye(num_old))
        has_weight = self._dense != 0
        #: (new,) first and one past the last old position that a new one is made of.
        self.firsts = has_weight.argmax(axis=1)
        self.stops = num_old - has_weight[:, ::-1].argmax(axis=1)
        starts = range(0, self.num_new, _BLOCK)
        rows = [slice(start, min(start + _BLOCK, self.num_new)) for start in starts]
        self._blocks = [(r, self.sources(r), self._dense[r, self.sources(r)]) for r in rows]

    def sources(self, rows: slice) -> slice:
        """The old positions that these new ones are made of."""
        return slice(int(self.firsts[rows].min()), int(self.stops[rows].max()))

    def combined(self, slices: np.ndarray, rows: slice) -> np.ndarray:
        """New slices from old ones.

        Args:
            slices: (m, Y, X) float32, the old slices `sources(rows)`.
            rows: which new slices.

        Returns:
            (len(rows), Y, X) float32; for an identity the slices themselves.
        """
        if self.is_identity:
            return slices
        weights = self._dense[rows, self.sources(rows)]
        new = np.empty((len(weights), *slices.shape[1:]), np.float32)
        old_flat, new_flat = slices.reshape(len(slices), -1), new.reshape(len(new), -1)
        length = _SMALL_PRODUCT // weights.size
        for start in range(0, new_flat.shape[1], length):
            voxels = slice(start, start + length)
            np.matmul(weights, old_flat[:, voxels], out=new_flat[:, voxels])
        return new

    def along_y(self, slices: np.ndarray) -> np.ndarray:
        """Slices (n, Y, X) float32 with a new height; themselves for an identity."""
        if self.is_identity:
            return slices
        depth, _, width = slices.shape
        new = np.empty((depth, self.num_new, width), np.float32)
        for rows, old, weights in self._blocks:
            np.matmul(weights, slices[:, old], out=new[:, rows])
        return new

    def along_x(self, slices: np.ndarray) -> np.ndarray:
        """Slices (n, Y, X) float32 with a new width; themselves for an identity."""
        if self.is_identity:
            return slices
        depth, height, width = slices.shape
        lines = slices.reshape(depth * height, width)
        new = np.empty((depth * height, self.num_new), np.float32)
        for rows, old, weights in self._blocks:
            length = _SMALL_PRODUCT // weights.size
            for start in range(0, len(lines), length):
                part = slice(start, start + length)
                np.matmul(lines[part, old], weights.T, out=new[part, rows])
        return new.reshape(depth, height, self.num_new)
