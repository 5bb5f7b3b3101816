"""How often each label of one map meets each label of another: all overlaps from one pass."""

from collections.abc import Sequence

import numpy as np

from segduet.metrics.overlap import OverlapCounts


def label_pairs(reference: np.ndarray, prediction: np.ndarray, *, num_values: int) -> np.ndarray:
    """Counts of (reference value, predicted value): (K + 1, K + 1) int64.

    The last row and column are of what is no value from 0 to K - 1.

    Args:
        reference: any shape and real dtype, finite.
        prediction: same shape.
        num_values: K.
    """
    assert reference.shape == prediction.shape, (reference.shape, prediction.shape)
    num_kinds = num_values + 1
    pairs = _kinds(reference, num_values).astype(np.min_scalar_type(num_kinds**2 - 1))
    pairs *= num_kinds
    pairs += _kinds(prediction, num_values)
    counts = np.bincount(pairs.ravel(), minlength=num_kinds**2)
    table: np.ndarray = counts.reshape(num_kinds, num_kinds)
    return table


def region_counts(
    pairs: np.ndarray, members: Sequence[int], *, ignored: int | None = None
) -> OverlapCounts:
    """How much a region of the reference and the region of the prediction share.

    Args:
        pairs: (K + 1, K + 1) counts of `label_pairs`.
        members: values of the region.
        ignored: reference value that leaves a voxel out of both; None leaves none out.
    """
    in_reference, in_prediction = pairs[list(members)], pairs[:, list(members)]
    left_out = 0 if ignored is None else int(in_prediction[ignored].sum())
    return OverlapCounts(
        shared=int(in_prediction[list(members)].sum()),
        in_reference=int(in_reference.sum()),
        in_prediction=int(in_prediction.sum()) - left_out,
    )


def _kinds(label_map: np.ndarray, num_values: int) -> np.ndarray:
    """The values, and K for all others: same shape, the smallest dtype."""
    dtype = np.min_scalar_type(num_values)
    if label_map.dtype == np.uint8:
        kinds: np.ndarray = np.minimum(label_map, dtype.type(num_values))
    else:
        is_value = (label_map >= 0) & (label_map < num_values) & (label_map % 1 == 0)
        kinds = np.where(is_value, label_map, num_values)
    return kinds.astype(dtype, copy=False)
