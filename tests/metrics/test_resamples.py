"""F83: figures of many resamples at once are those of each resample alone."""

import numpy as np
import pytest
from scipy import stats

from segduet.metrics import confusion, findings, probability, regression
from segduet.metrics.resamples import case_weights
from segduet.metrics.steps import Steps, below

NUM_CASES, NUM_CLASSES = 17, 3
RNG = np.random.default_rng(0)
TRUTH = np.arange(NUM_CASES) % NUM_CLASSES
CHANCES = RNG.dirichlet(np.ones(NUM_CLASSES), size=NUM_CASES)
SAID = CHANCES.argmax(1)
VALUES = RNG.integers(0, 6, NUM_CASES).astype(float)  # with ties
GUESSES = RNG.integers(0, 6, NUM_CASES).astype(float)
FOUND, NAMED = RNG.random((2, NUM_CASES, 2)) > 0.5
#: Two times four resamples, one of them of nothing, one of a single case.
WEIGHTS = RNG.integers(0, 3, (2, 4, NUM_CASES))
WEIGHTS[1, 2] = 0
WEIGHTS[1, 3] = np.eye(NUM_CASES)[5]

OF_MATRIX = (
    confusion.accuracy,
    confusion.balanced_accuracy,
    confusion.per_class_f1,
    confusion.macro_f1,
    confusion.matthews,
    confusion.quadratic_kappa,
    confusion.rank_error,
)
OF_TWO = (confusion.sensitivity, confusion.specificity, confusion.positive_likelihood_ratio)
OF_CASES = {
    **{
        f.__name__: lambda truth, chances, _values, _guesses, w, f=f: f(truth, chances, weights=w)
        for f in (
            probability.auroc,
            probability.macro_average_precision,
            probability.brier,
            probability.ece,
        )
    },
    **{
        f.__name__: lambda _truth, _chances, values, guesses, w, f=f: f(values, guesses, weights=w)
        for f in (
            regression.mean_absolute_error,
            regression.root_mean_squared_error,
            regression.r_squared,
            regression.spearman,
        )
    },
}


def repeated(array: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return np.repeat(array, counts, axis=0)


@pytest.mark.parametrize("of_matrix", OF_MATRIX, ids=lambda f: f.__name__)
def test_a_stack_of_matrices_gives_what_each_of_them_gives(of_matrix):
    matrices = confusion.confusion_matrix(TRUTH, SAID, num_classes=NUM_CLASSES, weights=WEIGHTS)
    assert matrices.shape == (2, 4, NUM_CLASSES, NUM_CLASSES)
    figures = of_matrix(matrices)
    for place in np.ndindex(2, 4):
        alone = of_matrix(matrices[place])
        assert figures[place] == pytest.approx(alone, nan_ok=True, abs=1e-14), place


@pytest.mark.parametrize("of_matrix", OF_TWO, ids=lambda f: f.__name__)
def test_a_stack_of_matrices_of_two_classes(of_matrix):
    matrices = confusion.confusion_matrix(
        TRUTH > 0, VALUES > 2, num_classes=2, weights=WEIGHTS.reshape(8, NUM_CASES)
    )
    alone = [float(of_matrix(matrix)) for matrix in matrices]
    assert of_matrix(matrices) == pytest.approx(alone, nan_ok=True)


@pytest.mark.parametrize("name", OF_CASES)
def test_a_weight_counts_like_a_repeated_case(name):
    cases = (TRUTH, CHANCES, VALUES, GUESSES)
    figures = OF_CASES[name](*cases, WEIGHTS)
    assert figures.shape == (2, 4)
    for place in np.ndindex(2, 4):
        again = OF_CASES[name](*(repeated(array, WEIGHTS[place]) for array in cases), None)
        assert figures[place] == pytest.approx(float(again), nan_ok=True, abs=1e-12), place


@pytest.mark.parametrize("of_findings", [findings.finding_f1, findings.exact_match])
def test_a_weight_counts_like_a_repeated_case_of_findings(of_findings):
    figures = of_findings(FOUND, NAMED, weights=WEIGHTS)
    for place in np.ndindex(2, 4):
        again = of_findings(*(repeated(array, WEIGHTS[place]) for array in (FOUND, NAMED)))
        assert figures[place] == pytest.approx(again, nan_ok=True, abs=1e-12), place


def test_kernel_calibration_of_resamples_as_defined():
    """Each drawn case against the other drawn ones: its own copies do not vouch for it."""
    confidence, is_right = CHANCES.max(1), SAID == TRUTH
    alpha, beta = confidence / 0.02 + 1, (1 - confidence) / 0.02 + 1
    kernel = [stats.beta.pdf(at, alpha, beta) for at in confidence]
    figures = probability.ece_kde(TRUTH, CHANCES, weights=WEIGHTS)
    for place in np.ndindex(2, 4):
        counts = WEIGHTS[place]
        gaps, total = 0.0, 0
        for j in np.flatnonzero(counts):
            others = kernel[j] * counts * (np.arange(NUM_CASES) != j)
            if others.sum() > 0:
                gaps += counts[j] * abs((others * is_right).sum() / others.sum() - confidence[j])
                total += counts[j]
        wanted = gaps / total if total else np.nan
        assert figures[place] == pytest.approx(wanted, nan_ok=True, abs=1e-12), place


def test_weights_may_be_integers_and_become_numbers_to_divide_by():
    counted = case_weights(TRUTH, np.ones(NUM_CASES, dtype=np.uint8))
    assert counted.dtype == np.float64
    assert case_weights(TRUTH, None).tolist() == [1.0] * NUM_CASES
    many = np.full((1, NUM_CASES), 200, dtype=np.uint8)  # their sum does not fit into 8 bits
    assert confusion.confusion_matrix(TRUTH, TRUTH, num_classes=3, weights=many).sum() == 3400


def test_cases_of_equal_value_share_a_step():
    """Values 3 1 3 2: three steps of 1, 1 and 2 cases."""
    steps = Steps.of(np.array([3.0, 1.0, 3.0, 2.0]))
    weights = np.array([[1.0, 1.0, 1.0, 1.0], [2.0, 0.0, 3.0, 5.0]])
    assert steps.sums(weights).tolist() == [[1.0, 1.0, 2.0], [0.0, 5.0, 5.0]]
    assert below(steps.sums(weights)).tolist() == [[0.0, 1.0, 2.0], [0.0, 0.0, 5.0]]
    assert steps.of_cases(np.array([10.0, 20.0, 30.0])).tolist() == [30.0, 10.0, 30.0, 20.0]
    assert steps.of_cases(np.array([[1.0, 2.0, 3.0]])).tolist() == [[3.0, 1.0, 3.0, 2.0]]


def test_no_step_without_cases():
    steps = Steps.of(np.zeros(0))
    assert steps.sums(np.zeros((2, 0))).shape == (2, 0)
    assert steps.of_cases(np.zeros(0)).tolist() == []
