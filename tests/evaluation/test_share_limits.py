import numpy as np
import pytest
from scipy import stats

from segduet.core.tasks import TaskSpec
from segduet.evaluation.classification import TaskAnswers, task_figures
from segduet.evaluation.share_limits import patients_behind, score_limits

Z95 = 1.959964


def names(n: int) -> list[str]:
    return [f"p{i}" for i in range(n)]


def figures_of(truth: list[int], said: list[int], patients=None, *, kind="multiclass"):
    task = TaskSpec(name="kind", classes=("a", "b", "c")[: max(*truth, *said, 1) + 1], kind=kind)
    answers = TaskAnswers(
        task=task,
        reference=np.array(truth),
        probabilities=np.eye(len(task.classes))[said],
        patients=tuple(patients or names(len(truth))),
    )
    return task_figures(answers, seed=0)


@pytest.mark.parametrize(("right", "cases"), [(30, 30), (10, 10), (0, 12), (26, 30), (9, 20)])
def test_limits_are_wilsons_of_scipy(right, cases):
    """F83: with z and plain cases, all right and all wrong included."""
    found = score_limits(right / cases, effective=cases, t=Z95)
    theirs = stats.binomtest(right, cases).proportion_ci(method="wilson")
    assert found == pytest.approx((theirs.low, theirs.high), abs=1e-7)


@pytest.mark.parametrize(("errors", "rate"), [(1, 0.0513), (2, 0.3554), (3, 0.8177)])
def test_few_errors_have_the_poisson_limit(errors, rate):
    """Brown, Cai and DasGupta 2001: so many errors, or more, are seen 5 % of the time at `rate`."""
    n = 60
    assert stats.poisson.sf(errors - 1, rate) == pytest.approx(0.05, abs=2e-4)
    low, high = score_limits(1 - errors / n, effective=n, t=Z95)
    wilson = stats.binomtest(n - errors, n).proportion_ci(method="wilson")
    assert high == pytest.approx(1 - rate / n, abs=1e-5)
    assert high > wilson.high
    assert low == pytest.approx(wilson.low, abs=1e-7)
    assert score_limits(27 / 30, effective=30, t=Z95)[1] == pytest.approx(
        stats.binomtest(27, 30).proportion_ci(method="wilson").high  # three of few are not few
    )
    # mirrored for few hits
    assert score_limits(errors / n, effective=n, t=Z95) == pytest.approx((1 - high, 1 - low))


@pytest.mark.parametrize("cases", [10, 30, 36, 72])
def test_truths_near_1_are_covered(cases):
    """F83, exactly, over all counts of right answers; by Wilson alone some have 85 %."""
    t = stats.t.ppf(0.975, cases - 1)
    counts = np.arange(cases + 1)
    limits = [score_limits(k / cases, effective=cases - 1, t=t) for k in counts]
    low, high = np.array(limits).T
    for truth in np.linspace(0.95, 0.999, 99):
        covered = (low <= truth) & (truth <= high)
        assert stats.binom.pmf(counts, cases, truth)[covered].sum() >= 0.925, truth


def test_patients_behind_a_mean_of_shares_by_hand():
    """Shares of 1, 4 and 5 patients: 9 / (1 + 1/4 + 1/5); of all ten: 10; of nobody: 0."""
    parts = np.repeat(np.eye(3), [1, 4, 5], axis=1)
    assert patients_behind(parts, names(10)) == pytest.approx(9 / 1.45)
    assert patients_behind(np.ones((1, 10)), names(10)) == pytest.approx(10)
    assert patients_behind(np.array([[1.0, 1.0], [0.0, 0.0]]), names(2)) == 0
    # two cases of a patient are one, and count what the larger one does
    assert patients_behind(np.array([[1.0, 0.5, 0.5]]), ["a", "a", "b"]) == pytest.approx(1.5)


def test_all_right_has_a_one_sided_interval():
    """F83, B19: 30 of 30 patients, 29 / (29 + t(29)^2) by hand; as many of every class."""
    figures = figures_of([0, 1, 2] * 10, [0, 1, 2] * 10)
    expected = (29 / (29 + 2.04523**2), 1.0)
    for metric in ("accuracy", "macro_f1", "balanced_accuracy"):
        assert (figures.metrics[metric].value, figures.metrics[metric].n) == (1.0, 30)
        assert figures.metrics[metric].ci95 == pytest.approx(expected, abs=1e-5)
    # of one class the ten patients who have it
    assert figures.f1_by_class["b"].ci95 == pytest.approx((9 / (9 + 2.04523**2), 1.0), abs=1e-5)


def test_all_wrong_has_one_too():
    figures = figures_of([0, 1, 2] * 10, [1, 2, 0] * 10)
    expected = (0.0, 2.04523**2 / (29 + 2.04523**2))
    assert figures.metrics["accuracy"].ci95 == pytest.approx(expected, abs=1e-5)
    assert figures.metrics["macro_f1"].ci95 == pytest.approx(expected, abs=1e-5)


def test_a_rare_class_widens_the_interval_of_a_perfect_macro_f1():
    """Two of thirty are of class a: what is known of a rests on them, accuracy on all."""
    classes = [0] * 2 + [1] * 14 + [2] * 14
    figures = figures_of(classes, classes)
    behind = 9 / (1 / 2 + 2 / 14)
    assert figures.metrics["macro_f1"].ci95[0] == pytest.approx(
        (behind - 1) / (behind - 1 + 2.04523**2), abs=1e-5
    )
    assert figures.metrics["accuracy"].ci95[0] > figures.metrics["macro_f1"].ci95[0] + 0.08


def test_sensitivity_and_specificity_rest_on_their_own_cases():
    """Twelve positive and twenty negative cases, all right."""
    classes = [1] * 12 + [0] * 20
    metrics = figures_of(classes, classes, kind="binary").metrics
    t = stats.t.ppf(0.975, 31)
    assert metrics["sensitivity"].ci95[0] == pytest.approx(11 / (11 + t**2))
    assert metrics["specificity"].ci95[0] == pytest.approx(19 / (19 + t**2))


def test_cases_of_one_patient_count_once():
    """Five cases of each of ten patients, all right, know what ten cases know."""
    classes = [0, 1] * 5
    copied = figures_of(
        np.repeat(classes, 5).tolist(),
        np.repeat(classes, 5).tolist(),
        np.repeat(names(10), 5).tolist(),
    )
    alone = figures_of(classes, classes)
    assert copied.metrics["accuracy"].ci95 == pytest.approx(alone.metrics["accuracy"].ci95)
    assert copied.metrics["macro_f1"].ci95 == pytest.approx(alone.metrics["macro_f1"].ci95)


def test_nothing_is_claimed_where_it_cannot_be():
    """F56: one patient; F1 that rests on one patient."""
    alone = figures_of([0, 1], [0, 1], ["a", "a"]).metrics["accuracy"]
    assert (alone.value, alone.ci95, alone.reason) == (1.0, None, "one patient has no interval")
    rare = figures_of([0] + [1] * 9, [0] + [1] * 9).f1_by_class["a"]
    assert (rare.value, rare.ci95) == (1.0, None)
    assert rare.reason == "it rests on one patient"


@pytest.mark.parametrize("num_wrong", [0, 8])
def test_macro_f1_has_no_interval_where_a_class_is_absent(num_wrong):
    """F56: it counts as 0 here, and as whatever it is among other patients."""
    said = np.array([0, 1] * 20)
    said[:num_wrong] = 2
    task = TaskSpec(name="kind", classes=("a", "b", "c"))
    two = TaskAnswers(
        task=task,
        reference=np.array([0, 1] * 20),
        probabilities=np.eye(3)[said],
        patients=tuple(names(40)),
    )
    figures = task_figures(two, seed=0)
    for estimate in (figures.metrics["macro_f1"], figures.f1_by_class["c"]):
        assert estimate.ci95 is None
        assert estimate.reason == "classes ['c'] do not occur in the reference"
    recall = 1 - num_wrong / 40
    assert figures.metrics["macro_f1"].value == pytest.approx(4 * recall / (1 + recall) / 3)
    assert figures.metrics["accuracy"].ci95[0] < recall <= figures.metrics["accuracy"].ci95[1]
    assert figures.f1_by_class["a"].ci95 is not None


def test_findings_that_are_all_right_have_an_interval():
    """Multilabel: one finding in ten of twenty patients, one in five; exact match in all twenty."""
    findings = np.zeros((20, 2), dtype=bool)
    findings[:10, 0], findings[:5, 1] = True, True
    answers = TaskAnswers(
        task=TaskSpec(name="signs", classes=("a", "b"), kind="multilabel"),
        reference=findings,
        probabilities=findings.astype(float),
        patients=tuple(names(20)),
    )
    metrics = task_figures(answers, seed=0).metrics
    t, behind = stats.t.ppf(0.975, 19), 4 / (1 / 10 + 1 / 5)
    assert metrics["exact_match"].ci95 == pytest.approx((19 / (19 + t**2), 1))
    assert metrics["macro_f1"].ci95 == pytest.approx(((behind - 1) / (behind - 1 + t**2), 1))
