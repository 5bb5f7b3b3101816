import numpy as np
import pytest

from segduet.metrics.detection import (
    components,
    count_lesions,
    lesion_f1,
    lesion_precision,
    lesion_recall,
)


def row(*values: int) -> np.ndarray:
    return np.array([values], dtype=bool)


def test_hand_counted_lesions():
    """F82: three lesions, two touched; three answers, one in the void."""
    counts = count_lesions(row(1, 1, 0, 1, 0, 1, 0, 0, 0, 0), row(1, 0, 0, 1, 0, 0, 0, 1, 0, 0))
    assert (counts.num_reference, counts.num_found, counts.num_missed) == (3, 2, 1)
    assert (counts.num_predicted, counts.num_right, counts.num_false_positives) == (3, 2, 1)
    assert lesion_recall(counts).value == lesion_precision(counts).value == 2 / 3
    assert lesion_f1(counts).value == 2 / 3


def test_a_touch_is_no_match_where_more_overlap_is_asked_for():
    """One of eleven voxels shared: IoU 1/11 is below 0.1."""
    reference, prediction = row(*[1] * 11), row(*[1] + [0] * 10)
    assert count_lesions(reference, prediction).num_found == 1
    assert count_lesions(reference, prediction, min_iou=0.1).num_found == 0


def test_edge_cases_of_lesion_scores():
    nothing = count_lesions(row(0, 0), row(0, 0))
    assert lesion_f1(nothing).reason == "neither the reference nor the prediction has a lesion"
    missed = count_lesions(row(1, 0), row(0, 0))
    assert lesion_f1(missed).value == 0.0
    assert lesion_precision(missed).reason == "no lesion was predicted"
    assert lesion_recall(count_lesions(row(0, 0), row(1, 0))).value is None


def test_two_components_match_above_an_iou_not_at_it():
    """Of 4 and 4 voxels 2 shared, 6 in either: IoU 1/3. Of 3 and 3 two shared: IoU 1/2."""
    third = row(1, 1, 1, 1, 0, 0), row(0, 0, 1, 1, 1, 1)
    assert count_lesions(*third, min_iou=0.3).num_found == 1
    assert count_lesions(*third, min_iou=0.35).num_found == 0
    half = row(1, 1, 1, 0), row(0, 1, 1, 1)
    assert count_lesions(*half, min_iou=0.49).num_right == 1
    assert count_lesions(*half, min_iou=0.5).num_right == 0


def test_one_prediction_over_two_lesions_finds_both_and_two_pieces_of_one_are_both_right():
    merged = count_lesions(row(1, 0, 1, 0), row(1, 1, 1, 0))
    assert (merged.num_reference, merged.num_found) == (2, 2)
    assert (merged.num_predicted, merged.num_right) == (1, 1)
    split = count_lesions(row(1, 1, 1, 0), row(1, 0, 1, 0))
    assert (split.num_reference, split.num_found) == (1, 1)
    assert (split.num_predicted, split.num_right) == (2, 2)
    assert lesion_f1(split).value == 1.0


def test_hand_worked_lesion_f1_of_unequal_shares():
    """One of two lesions found, by one of three components: 2 (1/2) (1/3) / (1/2 + 1/3)."""
    counts = count_lesions(row(1, 0, 0, 0, 0, 1, 0, 0), row(1, 0, 1, 0, 0, 0, 0, 1))
    assert (lesion_recall(counts).value, lesion_precision(counts).value) == (1 / 2, 1 / 3)
    assert lesion_f1(counts).value == pytest.approx(2 / 5)


def test_voxels_that_touch_at_a_corner_are_one_lesion():
    corner = np.zeros((2, 2, 2), dtype=bool)
    corner[0, 0, 0] = corner[1, 1, 1] = True
    assert count_lesions(corner, corner).num_reference == 1
    assert components(np.delete(corner, 1, axis=0))[1] == 1


def test_every_voxel_has_the_number_of_its_component():
    numbers, how_many = components(row(1, 1, 0, 1, 0, 1, 1, 1))
    assert how_many == 3
    assert numbers.tolist() == [[1, 1, 0, 2, 0, 3, 3, 3]]
    assert components(row(0, 0))[1] == 0


def test_of_masks_without_a_single_voxel():
    """What is left of two empty masks cut to what they share."""
    nothing = np.zeros((0, 0, 0), dtype=bool)
    counts = count_lesions(nothing, nothing)
    assert (counts.num_reference, counts.num_found) == (0, 0)
    assert (counts.num_predicted, counts.num_right) == (0, 0)
    assert lesion_recall(counts).reason == "the reference has no lesion"
