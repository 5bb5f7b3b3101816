import numpy as np
import pytest

from segduet.core.tasks import TaskSpec
from segduet.evaluation.paired_tests import exchange_p, holm, sign_flip_p
from segduet.metrics.confusion import confusion_matrix, macro_f1

TASK = TaskSpec(name="kind", classes=("a", "b"))


def names(n: int) -> list[str]:
    return [f"p{i}" for i in range(n)]


def test_all_signs_of_few_patients_by_hand():
    """Differences 3, 1, -1: of 8 sign patterns, |sum| >= 3 in six: all but +++- sums of 1."""
    sums = [abs(a * 3 + b + c) for a in (1, -1) for b in (1, -1) for c in (1, -1)]
    expected = sum(s >= 3 for s in sums) / 8
    assert sign_flip_p([3.0, 1.0, -1.0], names(3), seed=0) == expected


def test_ten_equal_gains_have_the_smallest_p_there_is():
    """F83: only all signs kept and all flipped are as far: 2 of 1024."""
    assert sign_flip_p([0.02] * 10, names(10), seed=0) == pytest.approx(2 / 1024)


def test_cases_of_one_patient_flip_together():
    """Two hundred cases of two patients: 2 of the 4 patterns are as far."""
    owners = np.repeat(["a", "b"], 100).tolist()
    assert sign_flip_p([0.02] * 200, owners, seed=0) == 0.5


def test_no_difference_has_p_1():
    assert sign_flip_p([0.0] * 30, names(30), seed=0) == 1.0


def test_sign_flips_keep_their_level_on_skewed_differences():
    """Differences symmetric about 0 of skewed size: 5 % of cohorts have p < .05, give or take."""
    rng = np.random.default_rng(5)
    found = [
        sign_flip_p(rng.lognormal(size=9) * rng.choice([-1, 1], size=9), names(9), seed=0)
        for _ in range(400)
    ]
    assert 6 <= sum(p < 0.05 for p in found) <= 34


def certain(classes: np.ndarray) -> np.ndarray:
    return np.eye(2)[classes] * 0.8 + 0.1


def test_exchange_of_a_cohort_figure_by_hand():
    """Four patients, macro-F1 over all 16 ways to exchange two runs' answers."""
    truth = np.array([0, 0, 1, 1])
    runs = np.array([[0, 1, 1, 1], [1, 0, 0, 1]])

    def gap(swapped: tuple[int, ...]) -> float:
        picks = [np.where(swapped, runs[1 - r], runs[r]) for r in (0, 1)]
        values = [float(macro_f1(confusion_matrix(truth, p, num_classes=2))) for p in picks]
        return abs(values[1] - values[0])

    expected = np.mean([gap(s) >= gap((0, 0, 0, 0)) - 1e-12 for s in np.ndindex(2, 2, 2, 2)])
    found = exchange_p(
        TASK, "macro_f1", truth, (certain(runs[0]), certain(runs[1])), names(4), seed=0
    )
    assert found == expected


@pytest.mark.parametrize("metric", ["macro_f1", "auroc", "brier", "ece_kde"])
def test_a_much_better_run_is_told_from_an_equal_one(metric):
    rng = np.random.default_rng(1)
    truth = np.arange(60) % 2
    good = certain(truth)
    guesses = certain(rng.integers(0, 2, size=60))
    better = exchange_p(TASK, metric, truth, (guesses, good), names(60), seed=0)
    equal = exchange_p(TASK, metric, truth, (guesses, guesses), names(60), seed=0)
    assert better < 0.001
    assert equal == 1.0


def test_an_undefined_figure_has_no_p():
    """AUROC needs both classes."""
    truth = np.zeros(5, dtype=np.int64)
    answers = certain(np.array([0, 1, 0, 0, 1]))
    assert exchange_p(TASK, "auroc", truth, (answers, answers), names(5), seed=0) is None


def test_holms_correction_by_hand():
    """Sorted .01 x 3, .02 x 2 = .04, .04 x 1 -> at least the one before; None is not counted."""
    assert holm([0.04, None, 0.01, 0.02]) == pytest.approx([0.04, None, 0.03, 0.04])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([0.03]) == [0.03]
