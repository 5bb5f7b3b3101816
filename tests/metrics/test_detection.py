import numpy as np

from segduet.metrics.detection import count_lesions, lesion_f1, lesion_precision, lesion_recall


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
