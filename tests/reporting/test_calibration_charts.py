import numpy as np

from segduet.core.scores import CaseScores, ClassAnswer
from segduet.metrics.probability import ece
from segduet.reporting.calibration_charts import reliability_bins, reliability_charts


def test_bins_hold_mean_confidence_share_of_right_answers_and_count():
    """By hand: (0.5, 0.6] holds .55 and .6, one of them right; (0.9, 1] holds 1.0, right."""
    bins = reliability_bins(np.array([0.55, 0.6, 1.0]), np.array([True, False, True]))
    assert [(round(c, 6), r, n) for c, r, n in bins] == [(0.575, 0.5, 2), (1.0, 1.0, 1)]


def test_bins_are_those_of_the_calibration_error():
    """F81: the weighted gaps of the dots are the ECE printed beside the chart."""
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet([1, 1, 1], size=200)
    reference = rng.integers(0, 3, size=200)
    bins = reliability_bins(probabilities.max(1), probabilities.argmax(1) == reference)
    gap = sum(n * abs(said - right) for said, right, n in bins) / 200
    np.testing.assert_allclose(gap, ece(reference, probabilities), rtol=1e-12)


def case(task: str, answer: ClassAnswer) -> CaseScores:
    return CaseScores(case="c", patient="c", answers={task: answer})


def test_only_tasks_with_a_confidence_and_a_known_answer_have_a_chart():
    known = ClassAnswer(reference="a", predicted="a", probabilities=(0.9, 0.1))
    unknown = ClassAnswer(reference=None, predicted="a", probabilities=(0.9, 0.1))
    number = ClassAnswer(reference="1.0", predicted="2.0", probabilities=(2.0,), kind="regression")
    cases = [case("kind", known), case("kind", unknown), case("blank", unknown)]
    (chart,) = reliability_charts([*cases, case("size", number)])
    assert "Reliability of kind, 1 cases: 0.90 confident, 1.00 right, 1 cases" in chart
