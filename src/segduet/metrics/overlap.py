"""How much two masks share."""

from dataclasses import dataclass

import numpy as np

from segduet.core.scores import Score

BOTH_EMPTY = "both masks are empty"
REFERENCE_EMPTY = "the reference mask is empty"
PREDICTION_EMPTY = "the predicted mask is empty"


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlapCounts:
    """What all figures of this file follow from.

    Attributes:
        shared: voxels of both masks.
        in_reference: voxels of the reference.
        in_prediction: voxels of the prediction.
    """

    shared: int
    in_reference: int
    in_prediction: int

    @property
    def is_nothing(self) -> bool:
        """Whether both masks are empty."""
        return self.in_reference + self.in_prediction == 0


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
    return _dsc(_counts(reference, prediction))


def iou(reference: np.ndarray, prediction: np.ndarray) -> Score:
    """Intersection over union (Jaccard index) of two masks: |A and B| / |A or B|.

    Both masks empty: undefined. Exactly one mask empty: 0.

    Args:
        reference: any shape, bool.
        prediction: same shape, bool.

    Source: Jaccard (1912), doi:10.1111/j.1469-8137.1912.tb05611.x.
    """
    return _iou(_counts(reference, prediction))


def precision(reference: np.ndarray, prediction: np.ndarray) -> Score:
    """Share of the prediction that is right (positive predictive value): |A and B| / |B|.

    Prediction empty: undefined, since nothing was claimed. Only the reference empty: 0.

    Args:
        reference: any shape, bool.
        prediction: same shape, bool.
    """
    return _precision(_counts(reference, prediction))


def recall(reference: np.ndarray, prediction: np.ndarray) -> Score:
    """Share of the reference that was found (sensitivity): |A and B| / |A|.

    Reference empty: undefined, since there was nothing to find. Only the prediction empty: 0.

    Args:
        reference: any shape, bool.
        prediction: same shape, bool.
    """
    return _recall(_counts(reference, prediction))


def f_beta(reference: np.ndarray, prediction: np.ndarray, *, beta: float) -> Score:
    """Precision and recall in one number, recall `beta` times as important; 1 is the DSC.

    (1 + beta²) |A and B| / (beta² |A| + |B|). Both masks empty: undefined. Exactly one empty: 0.

    Args:
        reference: any shape, bool.
        prediction: same shape, bool.
        beta: > 0; 2 (F2) where a missed voxel is worse than one too many.

    Source: van Rijsbergen (1979), Information Retrieval, chapter 7.
    """
    return _f_beta(_counts(reference, prediction), beta=beta)


def overlap_scores(counts: OverlapCounts) -> dict[str, Score]:
    """`dsc`, `iou`, `f2`, `precision` and `recall` of masks that were counted already."""
    return {
        "dsc": _dsc(counts),
        "iou": _iou(counts),
        "f2": _f_beta(counts, beta=2),
        "precision": _precision(counts),
        "recall": _recall(counts),
    }


def _counts(reference: np.ndarray, prediction: np.ndarray) -> OverlapCounts:
    assert reference.shape == prediction.shape, (reference.shape, prediction.shape)
    assert reference.dtype == prediction.dtype == np.bool_, (reference.dtype, prediction.dtype)
    return OverlapCounts(
        shared=int(np.count_nonzero(reference & prediction)),
        in_reference=int(np.count_nonzero(reference)),
        in_prediction=int(np.count_nonzero(prediction)),
    )


def _dsc(counts: OverlapCounts) -> Score:
    if counts.is_nothing:
        return Score(value=None, reason=BOTH_EMPTY)
    return Score(value=2 * counts.shared / (counts.in_reference + counts.in_prediction))


def _iou(counts: OverlapCounts) -> Score:
    if counts.is_nothing:
        return Score(value=None, reason=BOTH_EMPTY)
    in_either = counts.in_reference + counts.in_prediction - counts.shared
    return Score(value=counts.shared / in_either)


def _precision(counts: OverlapCounts) -> Score:
    if counts.in_prediction == 0:
        return Score(value=None, reason=PREDICTION_EMPTY if counts.in_reference else BOTH_EMPTY)
    return Score(value=counts.shared / counts.in_prediction)


def _recall(counts: OverlapCounts) -> Score:
    if counts.in_reference == 0:
        return Score(value=None, reason=REFERENCE_EMPTY if counts.in_prediction else BOTH_EMPTY)
    return Score(value=counts.shared / counts.in_reference)


def _f_beta(counts: OverlapCounts, *, beta: float) -> Score:
    if counts.is_nothing:
        return Score(value=None, reason=BOTH_EMPTY)
    weighted = beta**2 * counts.in_reference + counts.in_prediction
    return Score(value=(1 + beta**2) * counts.shared / weighted)
