import json

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from segduet.metrics.confusion import (
    accuracy,
    balanced_accuracy,
    confusion_matrix,
    macro_f1,
    matthews,
    per_class_f1,
    positive_likelihood_ratio,
    ratio,
)

# published by a system for the same task: 25 of 36 cases right
PUBLISHED = np.array([[7, 2, 0], [1, 10, 4], [1, 3, 8]], dtype=float)


def test_published_matrix_gives_published_numbers():
    assert float(macro_f1(PUBLISHED)) == pytest.approx(0.7037, abs=5e-5)
    assert float(accuracy(PUBLISHED)) == pytest.approx(25 / 36)


def test_rows_are_the_reference():
    """F88: a transposed or permuted matrix names the wrong classes (seeds.md, 1.2 S4)."""
    matrix = confusion_matrix(np.array([0, 0, 1]), np.array([2, 2, 1]), num_classes=3)
    assert matrix.tolist() == [[0, 0, 2], [0, 1, 0], [0, 0, 0]]


def test_always_one_class_scores_as_worked_by_hand():
    """Class 1 always answered, 9/15/12 cases: F1 = 30/51 for it, 0 for the others."""
    matrix = np.array([[0, 9, 0], [0, 15, 0], [0, 12, 0]], dtype=float)
    assert float(macro_f1(matrix)) == pytest.approx(30 / 51 / 3)
    assert float(balanced_accuracy(matrix)) == pytest.approx(1 / 3)


def test_class_absent_from_reference():
    """Left out of balanced accuracy; F1 0 for it, so the macro mean cannot gain from it."""
    matrix = confusion_matrix(np.array([0, 0, 1]), np.array([0, 0, 1]), num_classes=3)
    assert per_class_f1(matrix).tolist() == [1.0, 1.0, 0.0]
    assert float(macro_f1(matrix)) == pytest.approx(2 / 3)
    assert float(balanced_accuracy(matrix)) == 1.0


def test_no_cases_is_nan():
    empty = np.zeros((3, 3))
    assert all(np.isnan(metric(empty)) for metric in (accuracy, balanced_accuracy, macro_f1))


def test_weights_count_like_repeated_cases():
    rng = np.random.default_rng(0)
    reference, predicted = rng.integers(0, 3, (2, 20))
    weights = rng.integers(0, 3, (4, 20))
    batch = confusion_matrix(reference, predicted, num_classes=3, weights=weights)
    for row, counts in zip(batch, weights, strict=True):
        repeated = np.repeat(reference, counts), np.repeat(predicted, counts)
        expected = sklearn_metrics.confusion_matrix(*repeated, labels=range(3))
        assert row.tolist() == expected.tolist()


def test_equal_to_scikit_learn(shared_data):
    """C3.1, F82: 24 stored sets, absent and constant classes among them."""
    for entry in json.loads((shared_data("golden_metrics") / "classification.json").read_text()):
        expected, k = entry["expected"]["sklearn"], entry["n_classes"]
        matrix = confusion_matrix(
            np.array(entry["y_true"]), np.array(entry["y_pred"]), num_classes=k
        )
        assert matrix.tolist() == entry["confusion_matrix_true_by_pred"]
        ours = {
            "accuracy": accuracy(matrix),
            "balanced_accuracy": balanced_accuracy(matrix),
            "macro_f1": macro_f1(matrix),
            **{f"f1_class_{i}": f1 for i, f1 in enumerate(per_class_f1(matrix))},
        }
        for name, value in ours.items():
            assert float(value) == pytest.approx(expected[name], abs=1e-9), (entry["id"], name)


def test_a_single_case_counts_as_a_class():
    """One case of class 0, wrong; two of class 1, right: recalls 0 and 1; F1 0 and 4/5."""
    matrix = confusion_matrix(np.array([0, 1, 1]), np.array([1, 1, 1]), num_classes=2)
    assert float(balanced_accuracy(matrix)) == 1 / 2
    assert per_class_f1(matrix).tolist() == pytest.approx([0.0, 4 / 5])
    alone = confusion_matrix(np.array([0]), np.array([0]), num_classes=2)
    assert float(macro_f1(alone)) == 1 / 2
    assert float(matthews(alone)) != float(matthews(alone))  # no variance, no correlation


def test_hand_worked_correlation_of_classes():
    """4 and 6 cases, 3 and 4 right: (3 * 4 - 2 * 1) / sqrt(5 * 4 * 6 * 5)."""
    matrix = np.array([[4.0, 2.0], [1.0, 3.0]])
    assert float(matthews(matrix)) == pytest.approx((4 * 3 - 2 * 1) / np.sqrt(5 * 5 * 4 * 6))
    assert float(matthews(matrix[::-1])) == pytest.approx(-10 / np.sqrt(600))


def test_hand_worked_likelihood_ratio():
    """3 of 4 positives found, 2 of 6 negatives called positive: (3/4) / (2/6)."""
    matrix = np.array([[4.0, 2.0], [1.0, 3.0]])
    assert float(positive_likelihood_ratio(matrix)) == pytest.approx(9 / 4)
    no_alarm = np.array([[6.0, 0.0], [1.0, 3.0]])
    assert np.isnan(positive_likelihood_ratio(no_alarm))


def test_a_quotient_by_nothing_is_undefined():
    assert ratio(np.array([1, 0, 6]), np.array([0, 0, 4])) == pytest.approx(
        [np.nan, np.nan, 1.5], nan_ok=True
    )
