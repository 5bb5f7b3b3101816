"""B16, D9: sets that hold the truth as often as promised, in every class."""

import numpy as np
import pytest

from segduet.core.tasks import TaskSpec
from segduet.evaluation.calibration_learning import class_sets
from segduet.evaluation.classification import TaskAnswers
from segduet.evaluation.conformal import in_set, is_withheld, names_one_answer
from segduet.evaluation.conformal_fit import fewest_patients, least_probabilities

TWO = TaskSpec(name="cancer", classes=("no", "yes"))
THREE = TaskSpec(name="subtype", classes=("a", "b", "c"))


def answers_to(reference, of_truth, patients=None) -> TaskAnswers:
    """Two classes; the true one of each case was given this probability."""
    of_truth = np.asarray(of_truth)
    chances = np.where(np.asarray(reference)[:, None] == [0, 1], of_truth[:, None], 0)
    chances = np.where(chances > 0, chances, 1 - of_truth[:, None])
    return TaskAnswers(
        task=TWO,
        reference=np.asarray(reference),
        probabilities=chances,
        patients=tuple(patients or map(str, range(len(of_truth)))),
    )


@pytest.mark.parametrize(("alpha", "n"), [(0.1, 9), (0.05, 19), (0.2, 4), (0.5, 1), (0.01, 99)])
def test_how_many_patients_a_level_needs(alpha: float, n: int) -> None:
    """ceil((n + 1)(1 - alpha)) <= n, and not for n - 1."""
    assert fewest_patients(alpha) == n
    enough = answers_to([0] * n, np.linspace(0.3, 0.9, n))
    assert least_probabilities(enough, alpha)[0] is not None
    if n > 1:
        assert least_probabilities(answers_to([0] * (n - 1), [0.5] * (n - 1)), alpha)[0] is None


def test_thresholds_by_hand() -> None:
    """Of 9 patients at alpha 0.2 the ceil(10 * 0.8) = 8th largest; class by class."""
    of_truth = [0.91, 0.92, 0.93, 0.94, 0.95, 0.96, 0.97, 0.98, 0.99]
    mixed = answers_to([0] * 9 + [1] * 9, [*of_truth, *(p - 0.5 for p in of_truth)])
    assert least_probabilities(mixed, 0.2) == pytest.approx((0.92, 0.42))
    assert least_probabilities(mixed, 0.1) == pytest.approx((0.91, 0.41))


def test_a_patient_counts_once_with_the_worst_case() -> None:
    patients = ["p0", "p0", *(f"p{i}" for i in range(1, 9))]
    of_truth = [0.99, 0.3, 0.91, 0.92, 0.93, 0.94, 0.95, 0.96, 0.97, 0.98]
    assert least_probabilities(answers_to([0] * 10, of_truth, patients), 0.1)[0] == 0.3
    nine_cases_of_eight = answers_to([0] * 9, of_truth[1:], ["p1", *patients[2:]])
    assert least_probabilities(nine_cases_of_eight, 0.1)[0] is None


def test_a_class_with_too_few_patients_is_in_every_set_and_says_why() -> None:
    sets = class_sets(answers_to([0] * 9 + [1] * 3, [0.9] * 12), 0.1)
    assert sets.least_probability == {"no": pytest.approx(0.9), "yes": None}
    assert sets.always_because == {"yes": "3 patients have it, 9 are needed for alpha 0.1"}
    members = in_set(np.array([[1.0, 0.0], [0.2, 0.8]]), list(sets.least_probability.values()))
    assert members.tolist() == [[True, True], [False, True]]


def test_sets_may_be_empty_or_whole() -> None:
    chances = np.array([[0.5, 0.3, 0.2], [0.4, 0.4, 0.2], [0.34, 0.33, 0.33]])
    assert in_set(chances, (0.6, 0.4, 0.3)).tolist() == [
        [False, False, False],
        [False, True, False],
        [False, False, True],
    ]


def test_an_answer_stands_where_its_set_holds_it_alone() -> None:
    members = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 0]], dtype=bool)
    decided = np.zeros(4, dtype=int)
    assert names_one_answer(members, decided).tolist() == [True, False, False, False]
    assert is_withheld(members, decided, np.full((4, 3), 0.4), None).tolist() == [
        False,
        True,
        True,
        True,
    ]


def test_an_answer_stands_where_it_is_certain_enough() -> None:
    calibrated = np.array([[0.8, 0.2], [0.79, 0.21]])
    members = np.ones((2, 2), dtype=bool)
    assert is_withheld(members, np.zeros(2, int), calibrated, 0.8).tolist() == [False, True]


def simulated(rng: np.random.Generator, num_cases: int) -> TaskAnswers:
    """Three classes, of which the last is rare and badly recognised."""
    reference = rng.choice(3, size=num_cases, p=[0.5, 0.35, 0.15])
    logits = (
        rng.normal(size=(num_cases, 3))
        + np.array([3.0, 2.0, 0.7])[reference][:, None] * np.eye(3)[reference]
    )
    chances = np.exp(3 * logits)
    return TaskAnswers(
        task=THREE,
        reference=reference,
        probabilities=chances / chances.sum(1, keepdims=True),
        patients=tuple(map(str, range(num_cases))),
    )


def test_every_class_is_covered_as_promised_even_the_badly_recognised() -> None:
    """Mean over 60 calibrations of 200 cases, each tried on 400 others: 4 standard errors at most
    below 0.9. One threshold for all classes leaves the rare class far below."""
    rng = np.random.default_rng(0)
    covered, pooled = [], []
    for _ in range(60):
        known, new = simulated(rng, 200), simulated(rng, 400)
        members = in_set(new.probabilities, least_probabilities(known, 0.1))
        holds = members[np.arange(400), new.reference]
        covered.append([holds[new.reference == k].mean() for k in range(3)])
        of_truth = known.probabilities[np.arange(200), known.reference]
        bound = np.sort(of_truth)[200 - 181]
        holds = new.probabilities[np.arange(400), new.reference] >= bound
        pooled.append(holds[new.reference == 2].mean())
    mean, error = np.mean(covered, axis=0), np.std(covered, axis=0) / np.sqrt(60)
    assert (mean >= 0.9 - 4 * error).all()
    assert (mean <= 0.97).all()
    assert np.mean(pooled) < 0.8


@pytest.mark.filterwarnings("ignore:WARNING. your conformalization dataset has less labels")
def test_the_threshold_of_one_class_is_mapies() -> None:
    """A second library, on the cases of one class alone, as it knows no classes of the truth."""
    mapie = pytest.importorskip("mapie.classification")
    from sklearn.base import BaseEstimator, ClassifierMixin

    class Given(ClassifierMixin, BaseEstimator):
        """Answers with the probabilities it is given as features."""

        classes_ = np.arange(3)
        fitted_ = True

        def fit(self, _x: np.ndarray, _y: np.ndarray) -> "Given":
            return self

        def predict_proba(self, x: np.ndarray) -> np.ndarray:
            return x

        def predict(self, x: np.ndarray) -> np.ndarray:
            return x.argmax(1)

    rng = np.random.default_rng(1)
    known, new = simulated(rng, 300), simulated(rng, 100)
    ours = in_set(new.probabilities, least_probabilities(known, 0.1))
    for k in range(3):
        own = known.reference == k
        theirs = mapie.SplitConformalClassifier(Given(), confidence_level=0.9, prefit=True)
        theirs.conformalize(known.probabilities[own], known.reference[own])
        _, sets = theirs.predict_set(new.probabilities)
        np.testing.assert_array_equal(sets[:, k, 0], ours[:, k])
