import numpy as np
import pytest
from scipy import stats

from segduet.core.scores import Estimate
from segduet.evaluation.intervals import (
    mean_estimate,
    paired_difference,
    resample_weights,
    selection_inflation,
    statistic_estimate,
)
from segduet.metrics.confusion import confusion_matrix, macro_f1


def names(n: int) -> list[str]:
    return [f"p{i}" for i in range(n)]


def test_mean_covers_the_truth_in_95_percent_of_cohorts():
    """C3.9, F83: 1000 simulated cohorts of 36 skewed DSC-like values; 93 to 97 % cover the mean."""
    rng = np.random.default_rng(7)
    truth = 8 / 10
    hits = 0
    for number in range(1000):
        values = rng.beta(8, 2, size=36)
        low, high = mean_estimate(values, names(36), seed=number, num_resamples=999).ci95
        hits += low <= truth <= high
    assert 930 <= hits <= 970


def test_seeded_and_reproducible():
    values = np.random.default_rng(0).uniform(size=20)
    first, again, other = (mean_estimate(values, names(20), seed=s) for s in (1, 1, 2))
    assert first == again
    assert first.ci95 != other.ci95
    assert first.value == pytest.approx(values.mean())
    assert first.n == 20


def test_cases_of_one_patient_are_drawn_together():
    """Ten copies of each of six patients know no more than the six: no narrower interval."""
    values = [0.1, 0.9, 0.5, 0.7, 0.2, 0.6]
    alone = mean_estimate(values, names(6), seed=3)
    copied = mean_estimate(np.repeat(values, 10), np.repeat(names(6), 10).tolist(), seed=3)
    assert copied.ci95 == pytest.approx(alone.ci95)
    assert copied.n == 60
    pretended = mean_estimate(np.repeat(values, 10), names(60), seed=3)
    assert np.diff(pretended.ci95) < np.diff(alone.ci95) / 2


@pytest.mark.parametrize(
    ("values", "patients", "reason"),
    [([], [], "no case"), ([0.4], ["a"], "one patient"), ([0.4, 0.6], ["a", "a"], "one patient")],
)
def test_too_few_patients_have_no_interval(values, patients, reason):
    """F56: undefined says why."""
    estimate = mean_estimate(values, patients, seed=0)
    assert estimate.ci95 is None
    assert reason in estimate.reason
    assert estimate.value == (pytest.approx(np.mean(values)) if values else None)


def test_equal_values_have_no_interval():
    """Zero width would claim certainty, for instance for four collapsed lesions."""
    estimate = mean_estimate([0.0] * 4, names(4), seed=0)
    assert (estimate.value, estimate.ci95) == (0.0, None)
    assert "equal" in estimate.reason


def test_paired_difference_sees_what_unpaired_intervals_hide():
    """F83: a steady gain of .02 is settled although cases differ by far more than that."""
    rng = np.random.default_rng(2)
    base = rng.uniform(0.2, 0.95, size=30)
    better = base + 0.02 + rng.normal(0, 0.005, size=30)
    difference = paired_difference(base, better, names(30), seed=0)
    assert difference.value == pytest.approx(0.02, abs=0.004)
    assert 0.015 < difference.ci95[0] < difference.ci95[1] < 0.025
    alone = mean_estimate(base, names(30), seed=0).ci95
    assert alone[0] < np.mean(better) < alone[1]


def macro_f1_estimate(matrix: np.ndarray) -> Estimate:
    reference, predicted = (
        np.repeat(index.ravel(), matrix.ravel()) for index in np.indices(matrix.shape)
    )

    def statistic(weights: np.ndarray) -> np.ndarray:
        return macro_f1(confusion_matrix(reference, predicted, num_classes=3, weights=weights))

    return statistic_estimate(
        statistic, names(len(reference)), seed=0, undefined="absent", kind="score"
    )


def test_interval_of_a_published_macro_f1():
    """F83, seeds.md 1.2: 25 of 36 right, macro-F1 .7037 with percentiles .54 to .84."""
    estimate = macro_f1_estimate(np.array([[7, 2, 0], [1, 10, 4], [1, 3, 8]]))
    assert estimate.value == pytest.approx(0.7037, abs=5e-5)
    assert estimate.ci95 == pytest.approx((0.54, 0.84), abs=0.015)
    assert estimate.n == 36


@pytest.mark.parametrize("kind", ["percentile", "t", "logit"])
def test_perfect_answers_have_an_interval_as_a_share_alone(kind):
    """What is no share has a value where nothing varies, and no interval."""
    right = share_estimate(60, 60, kind="score")
    assert right.value == 1.0
    assert right.ci95 == pytest.approx((59 / (59 + stats.t.ppf(0.975, 59) ** 2), 1.0))
    estimate = share_estimate(60, 60, kind=kind)
    assert (estimate.value, estimate.ci95) == (1.0, None)
    assert "no uncertainty" in estimate.reason


def share_estimate(num_right: int, num_cases: int, **options) -> Estimate:
    is_right = np.arange(num_cases) < num_right
    return statistic_estimate(
        lambda weights: weights @ is_right / weights.sum(-1),
        options.pop("patients", names(num_cases)),
        seed=0,
        undefined="",
        **options,
    )


def test_score_interval_of_a_plain_share_is_wilsons():
    """46 of 50 right: Wilson's interval, with t(49) for z and n - 1 for n, by hand."""
    share, n, t = 46 / 50, 49, 2.0096
    middle = (share + t**2 / (2 * n)) / (1 + t**2 / n)
    half = t / (1 + t**2 / n) * np.sqrt(share * (1 - share) / n + t**2 / (4 * n**2))
    found = share_estimate(46, 50, kind="score")
    assert found.ci95 == pytest.approx((middle - half, middle + half), abs=0.004)
    assert found.ci95[1] < 1


def test_score_interval_of_copied_cases_is_no_narrower():
    """Twenty patients with five equal cases each know no more than twenty cases."""
    owners = np.repeat(names(20), 5).tolist()
    copied = share_estimate(90, 100, kind="score", patients=owners)
    assert copied.ci95 == pytest.approx(share_estimate(18, 20, kind="score").ci95, abs=0.002)


def test_limits_of_shares_stay_between_0_and_1_those_of_differences_need_not():
    """One of twenty wrong: t reaches beyond 1, which a difference may and a share may not."""
    limits = {kind: share_estimate(19, 20, kind=kind).ci95 for kind in ("score", "logit", "t")}
    assert limits["t"][1] > 1
    assert 0 < limits["score"][0] < limits["score"][1] < 1
    assert 0 < limits["logit"][0] < limits["logit"][1] < 1
    assert limits["t"][0] > max(limits["score"][0], limits["logit"][0])


def test_few_patients_widen_the_interval_of_a_mean():
    """Normal resamples would give Student's interval: of four patients, 3.18 errors, not 1.96."""
    values = [0.4, 0.5, 0.6, 0.7]
    low, high = mean_estimate(values, names(4), seed=0).ci95
    nominal = stats.bootstrap((values,), np.mean, method="BCa", rng=0).confidence_interval
    assert low < nominal.low
    assert high > nominal.high


def test_patients_of_equal_means_have_no_interval():
    """Their values differ, but no draw of patients shows it."""
    estimate = mean_estimate([0.4, 0.6, 0.4, 0.6], ["a", "a", "b", "b"], seed=0)
    assert (estimate.value, estimate.ci95) == (pytest.approx(0.5), None)
    assert "no uncertainty" in estimate.reason


def test_figure_that_is_often_undefined_has_no_interval():
    """A class of one case is missing from a third of the resamples."""
    positive = np.array([1, 0, 0, 0])

    def statistic(weights: np.ndarray) -> np.ndarray:
        return np.where(weights @ positive > 0, weights @ [0.1, 0.5, 0.2, 0.9], np.nan)

    estimate = statistic_estimate(statistic, names(4), seed=0, undefined="absent")
    assert estimate.ci95 is None
    assert "too few cases" in estimate.reason


def test_weights_draw_whole_patients():
    weights = resample_weights(["a", "b", "a", "c"], seed=0, num_resamples=200)
    assert (weights[:, 0] == weights[:, 2]).all()
    assert (weights[:, [0, 1, 3]].sum(1) == 3).all()


@pytest.mark.parametrize(("candidates", "inflation"), [(1, 0.0), (10, 0.12), (30, 0.16)])
def test_best_of_n_inflation(candidates, inflation):
    """F83, seeds.md 3.12: best of 10 on 36 cases gains about .12 of macro-F1, of 30 about .16."""
    published = Estimate(value=0.7037, ci95=(0.54, 0.84), n=36)
    assert selection_inflation(published, selected_from=candidates) == pytest.approx(
        inflation, abs=0.005
    )
