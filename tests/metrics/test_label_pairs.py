import numpy as np
import pytest

from segduet.metrics.label_pairs import label_pairs, region_counts
from segduet.metrics.overlap import dsc, f_beta, iou, overlap_scores, precision, recall


def test_pairs_are_counted_by_hand():
    """Reference down, prediction across; the last row and column are of undeclared values."""
    reference = np.array([[0, 1, 1, 2], [2, 2, 0, 7]], dtype=np.uint8)
    prediction = np.array([[0, 1, 2, 2], [2, 0, 9, 1]], dtype=np.uint8)
    pairs = label_pairs(reference, prediction, num_values=3)
    assert pairs.tolist() == [[1, 0, 0, 1], [0, 1, 1, 0], [1, 0, 2, 0], [0, 1, 0, 0]]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64, np.float32])
@pytest.mark.parametrize("num_values", [2, 5, 300])
def test_every_dtype_and_number_of_labels_agrees_with_counting_masks(dtype, num_values):
    rng = np.random.default_rng(num_values)
    highest = min(num_values + 2, np.iinfo(dtype).max if dtype != np.float32 else num_values + 2)
    pair = [rng.integers(0, highest, (3, 7, 8)).astype(dtype) for _ in range(2)]
    pairs = label_pairs(*pair, num_values=num_values)
    assert pairs.sum() == pair[0].size
    for one, other in ((0, 0), (0, 1), (num_values - 1, 1)):
        assert pairs[one, other] == np.count_nonzero((pair[0] == one) & (pair[1] == other))
    undeclared = np.count_nonzero(pair[1] >= num_values)
    assert pairs[:, -1].sum() == undeclared


@pytest.mark.parametrize("value", [-1, 1.5, 2, 300])
def test_what_is_no_declared_value_is_in_no_region(value):
    odd = np.array([value, 0, 1], dtype=np.float32)
    pairs = label_pairs(odd, np.array([0, 0, 1], np.float32), num_values=2)
    assert (pairs[-1].sum(), pairs[-1, 0]) == (1, 1)


def test_no_voxels_at_all():
    """Both maps background everywhere: their box is empty."""
    empty = np.zeros((0, 0, 0), np.uint8)
    assert label_pairs(empty, empty, num_values=2).sum() == 0


@pytest.mark.parametrize("ignored", [None, 3])
def test_figures_of_counts_are_those_of_masks(ignored):
    """F81: to the last bit, for labels, nested regions, and with voxels nobody annotated."""
    rng = np.random.default_rng(1)
    reference, prediction = rng.integers(0, 4, (2, 4, 9, 9)).astype(np.uint8)
    pairs = label_pairs(reference, prediction, num_values=4)
    counted = np.ones(reference.shape, bool) if ignored is None else reference != ignored
    for members in ((1,), (2,), (1, 2)):
        masks = np.isin(reference, members) & counted, np.isin(prediction, members) & counted
        counts = region_counts(pairs, members, ignored=ignored)
        assert counts.in_reference == np.count_nonzero(masks[0])
        assert counts.in_prediction == np.count_nonzero(masks[1])
        assert overlap_scores(counts) == {
            "dsc": dsc(*masks),
            "iou": iou(*masks),
            "f2": f_beta(*masks, beta=2),
            "precision": precision(*masks),
            "recall": recall(*masks),
        }
