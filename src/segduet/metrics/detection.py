"""Which lesions were found: connected components instead of voxels.

Components are joined through faces, edges and corners (26 neighbours in 3D, 8 in 2D); spacing plays
no part. A component of one mask is matched if some component of the other overlaps it enough. One
prediction may match several lesions that it merges, and several fragments may match one lesion.

Empty rule: without a lesion there is no recall, without a predicted component no precision, and
without either no F1; with one of them only, F1 is 0.
"""

from dataclasses import dataclass

import numpy as np

from segduet.core.scores import Score

NO_LESION = "the reference has no lesion"
NOTHING_PREDICTED = "no lesion was predicted"
NOTHING_AT_ALL = "neither the reference nor the prediction has a lesion"


@dataclass(frozen=True, slots=True, kw_only=True)
class LesionCounts:
    """Components of a pair of masks and how many of them are matched.

    Attributes:
        num_reference: lesions there are.
        num_found: of these, matched by a predicted component.
        num_predicted: components predicted.
        num_right: of these, matched by a lesion.
    """

    num_reference: int
    num_found: int
    num_predicted: int
    num_right: int

    @property
    def num_missed(self) -> int:
        """Lesions that no predicted component matches."""
        return self.num_reference - self.num_found

    @property
    def num_false_positives(self) -> int:
        """Predicted components that match no lesion."""
        return self.num_predicted - self.num_right


def count_lesions(
    reference: np.ndarray, prediction: np.ndarray, *, min_iou: float = 0.0
) -> LesionCounts:
    """Counts the components of both masks and which of them match.

    Args:
        reference: (Z, Y, X) or (Y, X) bool.
        prediction: same shape, bool.
        min_iou: two components match if their IoU is above this, in [0, 1); 0: one shared voxel
            is enough, 0.1 asks for a rough localisation.

    Matching is not one-to-one, so that a lesion in two pieces costs no precision.

    Source: Maier-Hein et al. (2024), doi:10.1038/s41592-023-02151-z (localisation by overlap).
    """
    assert reference.shape == prediction.shape, (reference.shape, prediction.shape)
    lesions, num_reference = components(reference)
    answers, num_predicted = components(prediction)
    found, right = _matches(lesions, answers, min_iou=min_iou)
    return LesionCounts(
        num_reference=num_reference,
        num_found=len(np.unique(found)),
        num_predicted=num_predicted,
        num_right=len(np.unique(right)),
    )


def components(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """Number of the component of each voxel, 0 outside: same shape; and how many there are.

    Args:
        mask: (Z, Y, X) or (Y, X) bool.
    """
    from scipy import ndimage  # which overlaps and volumes need not wait for

    numbered: tuple[np.ndarray, int] = ndimage.label(mask, np.ones((3,) * mask.ndim))
    return numbered


def lesion_recall(counts: LesionCounts) -> Score:
    """Share of the lesions that were found, in [0, 1]; undefined without a lesion."""
    if counts.num_reference == 0:
        return Score(value=None, reason=NO_LESION)
    return Score(value=counts.num_found / counts.num_reference)


def lesion_precision(counts: LesionCounts) -> Score:
    """Share of the predicted components that are lesions, in [0, 1]; undefined without any."""
    if counts.num_predicted == 0:
        return Score(value=None, reason=NOTHING_PREDICTED)
    return Score(value=counts.num_right / counts.num_predicted)


def lesion_f1(counts: LesionCounts) -> Score:
    """Harmonic mean of lesion recall and precision, in [0, 1].

    Undefined where there is neither a lesion nor a predicted component; 0 where there is one of
    them only, or none matches.
    """
    recall, precision = lesion_recall(counts).value, lesion_precision(counts).value
    if recall is None and precision is None:
        return Score(value=None, reason=NOTHING_AT_ALL)
    if not recall or not precision:
        return Score(value=0.0)
    return Score(value=2 * recall * precision / (recall + precision))


def _matches(
    lesions: np.ndarray, answers: np.ndarray, *, min_iou: float
) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the lesions and of the predicted components that match; pairs may repeat one."""
    shares = (lesions > 0) & (answers > 0)
    num_columns = int(answers.max(initial=0)) + 1
    codes = lesions[shares].astype(np.int64) * num_columns + answers[shares]
    pairs, shared = np.unique(codes, return_counts=True)
    lesion, answer = np.divmod(pairs, num_columns)
    either = np.bincount(lesions.ravel())[lesion] + np.bincount(answers.ravel())[answer] - shared
    is_match = shared > min_iou * either
    return lesion[is_match], answer[is_match]
