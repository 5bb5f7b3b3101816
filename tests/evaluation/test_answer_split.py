import pytest

from segduet.core.scores import CaseScores, ClassAnswer, Score
from segduet.core.tasks import TaskSpec
from segduet.evaluation.answer_split import dsc_by_answer

TASK = TaskSpec(name="kind", classes=("a", "b"))


def scored(number: int, dsc: float | None, said: str, truth: str | None = "a") -> CaseScores:
    score = Score(value=None, reason="both empty") if dsc is None else Score(value=dsc)
    return CaseScores(
        case=f"c{number}",
        patient=f"p{number}",
        segmentation={"organ": {"dsc": score}},
        answers={"kind": ClassAnswer(reference=truth, predicted=said, probabilities=(0.5, 0.5))},
    )


def test_masks_that_fail_where_the_class_is_wrong_are_seen():
    """F95, S4's question, by hand: right .9, .8, ... and wrong .4, .5, ..."""
    cases = [scored(i, 0.8 + 0.1 * (i % 2), "a") for i in range(12)]
    cases += [scored(20 + i, 0.4 + 0.1 * (i % 2), "b") for i in range(8)]
    cases += [scored(40, None, "b"), scored(41, 0.1, "b", truth=None)]
    split = dsc_by_answer(cases, ["organ"], [TASK], seed=0)["kind"]["organ"]
    assert (split.right.value, split.right.n) == (pytest.approx(0.85), 12)
    assert (split.wrong.value, split.wrong.n) == (pytest.approx(0.45), 8)
    assert (split.difference.value, split.difference.n) == (pytest.approx(0.4), 20)
    assert 0.3 < split.difference.ci95[0] < 0.4 < split.difference.ci95[1] < 0.5


def test_masks_that_do_not_care_have_zero_in_the_interval():
    cases = [scored(i, 0.5 + 0.02 * (i * 7 % 13), "ab"[i % 2]) for i in range(26)]
    difference = dsc_by_answer(cases, ["organ"], [TASK], seed=0)["kind"]["organ"].difference
    assert difference.ci95[0] < 0 < difference.ci95[1]


@pytest.mark.parametrize(("said", "which"), [("a", "wrongly"), ("b", "rightly")])
def test_an_empty_half_says_so(said, which):
    """F56."""
    cases = [scored(i, 0.1 * i, said) for i in range(6)]
    split = dsc_by_answer(cases, ["organ"], [TASK], seed=0)["kind"]["mean_foreground"]
    assert split.difference.value is None
    assert which in split.difference.reason


def test_findings_are_right_in_any_order_and_values_have_no_right_or_wrong():
    tasks = [
        TaskSpec(name="kind", kind="multilabel", classes=("a", "b")),
        TaskSpec(name="size", kind="regression"),
    ]
    cases = [scored(i, 0.5, "a|b", truth="b|a") for i in range(3)]
    found = dsc_by_answer(cases, ["organ"], tasks, seed=0)
    assert set(found) == {"kind"}
    assert found["kind"]["organ"].right.n == 3


def test_without_masks_there_is_nothing_to_split():
    cases = [CaseScores(case="c", patient="p", answers=scored(0, 0.5, "a").answers)]
    assert dsc_by_answer(cases, [], [TASK], seed=0) == {}
