"""F82: without a single case there is no figure: NaN, and neither 0 nor a warning."""

import numpy as np
import pytest

from segduet.metrics import confusion, findings, probability, regression

CLASSES, CHANCES = np.zeros(0, dtype=int), np.zeros((0, 3))
VALUES = np.zeros(0)


@pytest.mark.parametrize(
    "of_matrix",
    [
        confusion.accuracy,
        confusion.balanced_accuracy,
        confusion.macro_f1,
        confusion.per_class_f1,
        confusion.matthews,
        confusion.quadratic_kappa,
        confusion.rank_error,
    ],
)
def test_of_an_empty_matrix(of_matrix):
    matrix = confusion.confusion_matrix(CLASSES, CLASSES, num_classes=3)
    assert matrix.tolist() == np.zeros((3, 3)).tolist()
    assert np.isnan(of_matrix(matrix)).all()


@pytest.mark.parametrize(
    "of_two", [confusion.sensitivity, confusion.specificity, confusion.positive_likelihood_ratio]
)
def test_of_an_empty_matrix_of_two_classes(of_two):
    assert np.isnan(of_two(np.zeros((2, 2))))


@pytest.mark.parametrize(
    "of_chances",
    [
        probability.auroc,
        probability.macro_average_precision,
        probability.brier,
        probability.ece,
        probability.ece_kde,
    ],
)
def test_of_no_probabilities(of_chances):
    assert np.isnan(of_chances(CLASSES, CHANCES))


@pytest.mark.parametrize("of_scores", [probability.binary_auroc, probability.average_precision])
def test_of_no_scores(of_scores):
    assert np.isnan(of_scores(np.zeros(0, dtype=bool), VALUES))


@pytest.mark.parametrize("of_findings", [findings.finding_f1, findings.exact_match])
def test_of_no_findings(of_findings):
    none = np.zeros((0, 2), dtype=bool)
    assert np.isnan(of_findings(none, none)).all()


@pytest.mark.parametrize(
    "of_values",
    [
        regression.mean_absolute_error,
        regression.root_mean_squared_error,
        regression.r_squared,
        regression.spearman,
    ],
)
def test_of_no_values(of_values):
    assert np.isnan(of_values(VALUES, VALUES))


def test_of_a_resample_that_drew_nothing():
    """Beside one that drew every case once."""
    reference = np.array([0, 1, 2])
    weights = np.array([[1, 1, 1], [0, 0, 0]])
    matrices = confusion.confusion_matrix(reference, reference, num_classes=3, weights=weights)
    scores = confusion.per_class_f1(matrices)
    assert scores[0].tolist() == [1.0, 1.0, 1.0]
    assert np.isnan(scores[1]).all()
