"""B02: figures of binary and ordinal tasks, against hand-worked values and scikit-learn."""

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from segduet.metrics.confusion import (
    confusion_matrix,
    quadratic_kappa,
    rank_error,
    sensitivity,
    specificity,
)
from segduet.metrics.probability import average_precision, binary_auroc


def test_hand_worked_sensitivity_and_specificity():
    """Of 4 positive 3 found, of 6 negative 4 left alone."""
    matrix = np.array([[4, 2], [1, 3]], dtype=float)
    assert float(sensitivity(matrix)) == pytest.approx(3 / 4)
    assert float(specificity(matrix)) == pytest.approx(4 / 6)


def test_without_a_positive_case_there_is_no_sensitivity():
    matrix = np.array([[4.0, 2.0], [0.0, 0.0]])
    assert np.isnan(sensitivity(matrix))
    assert float(specificity(matrix)) == pytest.approx(2 / 3)


def test_hand_worked_average_precision():
    """Ranks + - + -: recall 1/2 at precision 1, 1/2 more at 2/3."""
    is_positive = np.array([True, False, True, False])
    value = average_precision(is_positive, np.array([0.9, 0.8, 0.7, 0.1]))
    assert float(value) == pytest.approx((1 + 2 / 3) / 2)


def test_a_constant_score_has_the_precision_of_chance():
    is_positive = np.array([True, False, False, False])
    assert float(average_precision(is_positive, np.full(4, 0.3))) == pytest.approx(1 / 4)
    assert float(binary_auroc(is_positive, np.full(4, 0.3))) == 0.5


def test_no_positive_case_no_average_precision():
    assert np.isnan(average_precision(np.zeros(3, bool), np.array([0.1, 0.2, 0.3])))
    assert np.isnan(average_precision(np.zeros(0, bool), np.zeros(0)))


def test_hand_worked_kappa_and_rank_error():
    """Three classes, answers one rank off in 2 of 4 cases, marginals 2 1 1 and 1 2 1."""
    matrix = np.array([[1, 1, 0], [0, 0, 1], [0, 1, 0]], dtype=float)
    # squared ranks lost: 3; by chance (2*2*1 + 2*1*4 + 1*1*1 + 1*1*1 + 1*1*4 + 1*2*1) / 4 = 5
    assert float(quadratic_kappa(matrix)) == pytest.approx(1 - 3 / 5)
    assert float(rank_error(matrix)) == pytest.approx(3 / 4)


def test_perfect_answers_and_one_class_only():
    assert float(quadratic_kappa(np.diag([3.0, 2.0, 1.0]))) == 1
    assert float(rank_error(np.diag([3.0, 2.0, 1.0]))) == 0
    assert np.isnan(quadratic_kappa(np.diag([3.0, 0.0, 0.0])))
    assert np.isnan(rank_error(np.zeros((3, 3))))


@pytest.mark.parametrize("seed", range(3))
def test_equal_to_scikit_learn_with_and_without_repeats(seed):
    rng = np.random.default_rng(seed)
    reference, predicted = rng.integers(0, 4, (2, 40))
    weights = rng.integers(0, 3, (4, 40))
    matrices = confusion_matrix(reference, predicted, num_classes=4, weights=weights)
    is_positive = reference > 1
    score = rng.integers(0, 8, 40) / 8  # with ties
    for matrix, counts, precision, area in zip(
        matrices,
        weights,
        average_precision(is_positive, score, weights=weights),
        binary_auroc(is_positive, score, weights=weights),
        strict=True,
    ):
        truth, chosen = np.repeat(reference, counts), np.repeat(predicted, counts)
        kappa = sklearn_metrics.cohen_kappa_score(
            truth, chosen, weights="quadratic", labels=range(4)
        )
        assert float(quadratic_kappa(matrix)) == pytest.approx(kappa, abs=1e-12)
        assert float(rank_error(matrix)) == pytest.approx(np.abs(truth - chosen).mean())
        positive, scores = np.repeat(is_positive, counts), np.repeat(score, counts)
        wanted = sklearn_metrics.average_precision_score(positive, scores)
        assert precision == pytest.approx(wanted, abs=1e-12)
        assert area == pytest.approx(sklearn_metrics.roc_auc_score(positive, scores), abs=1e-12)


def test_found_and_left_alone_equal_scikit_learns_recall():
    """F82: of the positive and of the negative class."""
    rng = np.random.default_rng(3)
    truth, said = rng.integers(0, 2, (2, 50))
    matrix = confusion_matrix(truth, said, num_classes=2)
    for metric, label in ((sensitivity, 1), (specificity, 0)):
        wanted = sklearn_metrics.recall_score(truth, said, pos_label=label)
        assert float(metric(matrix)) == pytest.approx(wanted, abs=1e-12)
    rank = sklearn_metrics.mean_absolute_error(truth, said)
    assert float(rank_error(matrix)) == pytest.approx(rank, abs=1e-12)
