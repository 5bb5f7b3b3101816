"""How much two masks share."""

import numpy as np

from segduet.core.scores import Score

BOTH_EMPTY = "both masks are empty"


def dsc(reference: np.ndarray, prediction: np.ndarray) -> Score:
    """Dice similarity coefficient of two masks: 2 |A and B| / (|A| + |B|).

    Both masks empty: undefined (as nnU-Net's NaN), since neither 0 nor 1 says anything about the
    model. Exactly one mask empty: 0.

    Args:
        reference: any shape, bool; True where the region is.
        prediction: same shape, bool.

    Source: Dice (1945), doi:10.2307/1932409; Maier-Hein et al. (2024),
        doi:10.1038/s41592-023-02151-z.
    """
    shared, in_reference, in_prediction = _counts(reference, prediction)
    if in_reference + in_prediction == 0:
        return Score(value=None, reason=BOTH_EMPTY)
    return Score(value=2 * shared / (in_reference + in_prediction))


def iou(reference: np.ndarray, prediction: np.ndarray) -> Score:
    """Intersection over union (Jaccard index) of two masks: |A and B| / |A or B|.

    Both masks empty: undefined. Exactly one mask empty: 0.

    Args:
        reference: any shape, bool.
        prediction: same shape, bool.

    Source: Jaccard (1912), doi:10.1111/j.1469-8137.1912.tb05611.x.
    """
    shared, in_reference, in_prediction = _counts(reference, prediction)
    if in_reference + in_prediction == 0:
        return Score(value=None, reason=BOTH_EMPTY)
    return Score(value=shared / (in_reference + in_prediction - shared))


def _counts(reference: np.ndarray, prediction: np.ndarray) -> tuple[int, int, int]:
    assert reference.shape == prediction.shape, (reference.shape, prediction.shape)
    assert reference.dtype == prediction.dtype == np.bool_, (reference.dtype, prediction.dtype)
    shared = np.count_nonzero(reference & prediction)
    return int(shared), int(np.count_nonzero(reference)), int(np.count_nonzero(prediction))
