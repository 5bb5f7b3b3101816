"""How much two masks share."""

import numpy as np

from segduet.core.scores import Score

BOTH_EMPTY = "both masks are empty"
REFERENCE_EMPTY = "the reference mask is empty"
PREDICTION_EMPTY = "the predicted mask is empty"


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


def precision(reference: np.ndarray, prediction: np.ndarray) -> Score:
    """Share of the prediction that is right (positive predictive value): |A and B| / |B|.

    Prediction empty: undefined, since nothing was claimed. Only the reference empty: 0.

    Args:
        reference: any shape, bool.
        prediction: same shape, bool.
    """
    shared, in_reference, in_prediction = _counts(reference, prediction)
    if in_prediction == 0:
        return Score(value=None, reason=PREDICTION_EMPTY if in_reference else BOTH_EMPTY)
    return Score(value=shared / in_prediction)


def recall(reference: np.ndarray, prediction: np.ndarray) -> Score:
    """Share of the reference that was found (sensitivity): |A and B| / |A|.

    Reference empty: undefined, since there was nothing to find. Only the prediction empty: 0.

    Args:
        reference: any shape, bool.
        prediction: same shape, bool.
    """
    shared, in_reference, in_prediction = _counts(reference, prediction)
    if in_reference == 0:
        return Score(value=None, reason=REFERENCE_EMPTY if in_prediction else BOTH_EMPTY)
    return Score(value=shared / in_reference)


def f_beta(reference: np.ndarray, prediction: np.ndarray, *, beta: float) -> Score:
    """Precision and recall in one number, recall `beta` times as important; 1 is the DSC.

    (1 + beta²) |A and B| / (beta² |A| + |B|). Both masks empty: undefined. Exactly one empty: 0.

    Args:
        reference: any shape, bool.
        prediction: same shape, bool.
        beta: > 0; 2 (F2) where a missed voxel is worse than one too many.

    Source: van Rijsbergen (1979), Information Retrieval, chapter 7.
    """
    shared, in_reference, in_prediction = _counts(reference, prediction)
    if in_reference + in_prediction == 0:
        return Score(value=None, reason=BOTH_EMPTY)
    return Score(value=(1 + beta**2) * shared / (beta**2 * in_reference + in_prediction))


def _counts(reference: np.ndarray, prediction: np.ndarray) -> tuple[int, int, int]:
    assert reference.shape == prediction.shape, (reference.shape, prediction.shape)
    assert reference.dtype == prediction.dtype == np.bool_, (reference.dtype, prediction.dtype)
    shared = np.count_nonzero(reference & prediction)
    return int(shared), int(np.count_nonzero(reference)), int(np.count_nonzero(prediction))
