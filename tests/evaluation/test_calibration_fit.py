"""B16, D9: temperatures are found again, cross-fitted, and refused on too few cases."""

import numpy as np
import pytest

from segduet.core.answers import answer_probabilities
from segduet.core.errors import DataError
from segduet.core.tasks import TaskSpec
from segduet.evaluation.calibration import scaled_answers
from segduet.evaluation.calibration_figures import improvement, reliability
from segduet.evaluation.calibration_fit import (
    HIGHEST_TEMPERATURE,
    LOWEST_TEMPERATURE,
    cross_fitted,
    fit_temperatures,
    negative_log_likelihoods,
    questions,
    require_enough,
)
from segduet.evaluation.calibration_learning import CalibrationSettings, calibrate_task
from segduet.evaluation.classification import TaskAnswers

THREE = TaskSpec(name="subtype", classes=("a", "b", "c"))
FINDINGS = TaskSpec(name="findings", kind="multilabel", classes=("cyst", "mass"))
GRADE = TaskSpec(name="grade", kind="ordinal", classes=("low", "mid", "high"))


def overconfident(task: TaskSpec, num_cases: int, *, times: float = 3.0, seed: int = 0):
    """Truths drawn from honest probabilities, and answers with logits that many times too large."""
    rng = np.random.default_rng(seed)
    logits = 1.5 * rng.normal(size=(num_cases, task.num_outputs))
    if task.kind == "ordinal":
        logits = np.sort(logits, axis=1)[:, ::-1]
    honest = answer_probabilities(task, logits)
    if task.kind == "multilabel":
        reference = rng.random(honest.shape) < honest
    else:
        reference = np.array([rng.choice(3, p=p) for p in honest])
    return TaskAnswers(
        task=task,
        reference=reference,
        probabilities=answer_probabilities(task, times * logits),
        patients=tuple(f"p{i}" for i in range(num_cases)),
    )


@pytest.mark.parametrize("task", [THREE, FINDINGS, GRADE], ids=lambda t: t.kind)
@pytest.mark.parametrize("times", [0.5, 1.0, 3.0])
def test_the_factor_that_made_answers_too_certain_is_found(task: TaskSpec, times: float) -> None:
    found = fit_temperatures(overconfident(task, 4000, times=times))
    np.testing.assert_allclose(found, times, rtol=0.15)


def test_the_temperature_is_that_of_the_least_loss_on_a_grid() -> None:
    answers = overconfident(THREE, 200)
    (found,) = fit_temperatures(answers)

    def loss(temperature: float) -> float:
        scaled = scaled_answers(THREE, answers.probabilities, np.array([temperature]))
        return float(negative_log_likelihoods(answers.reference, scaled).mean())

    grid = np.linspace(1, 6, 501)
    assert found == pytest.approx(grid[np.argmin([loss(t) for t in grid])], abs=0.011)


def test_right_answers_alone_are_not_made_certain() -> None:
    """Without an error the likeliest temperature is 0, which no number of cases proves."""
    reference = np.arange(30) % 3
    sure = TaskAnswers(
        task=THREE,
        reference=reference,
        probabilities=np.full((30, 3), 0.1) + 0.7 * np.eye(3)[reference],
        patients=tuple(map(str, range(30))),
    )
    (found,) = fit_temperatures(sure)
    assert found == pytest.approx(LOWEST_TEMPERATURE, rel=1e-3)
    learned = calibrate_task(sure, np.arange(30) // 6, CalibrationSettings())
    assert learned.evidence["at_bound"] is True
    assert HIGHEST_TEMPERATURE > 1


def test_no_case_is_scaled_by_what_was_learned_from_it() -> None:
    """Other truths in one part change the answers of every other part, never its own."""
    answers, parts = overconfident(THREE, 60), np.arange(60) % 5
    before = cross_fitted(answers, parts)
    answers.reference[parts == 2] = (answers.reference[parts == 2] + 1) % 3
    after = cross_fitted(answers, parts)
    np.testing.assert_array_equal(after[parts == 2], before[parts == 2])
    for part in (0, 1, 3, 4):
        assert (after[parts == part] != before[parts == part]).any()


def test_overconfident_answers_become_more_reliable_on_unseen_cases() -> None:
    """D9 in small: ECE halved, NLL and Brier lower, each difference with its interval below 0."""
    answers = overconfident(THREE, 300)
    figures = improvement(answers, cross_fitted(answers, np.arange(300) % 5), seed=0)
    assert list(figures) == ["nll", "brier", "ece"]
    for change in figures.values():
        assert change["before"]["n"] == change["after"]["n"] == 300
        difference = change["after"]["value"] - change["before"]["value"]
        assert change["difference"]["value"] == pytest.approx(difference)
        assert change["difference"]["ci95"][1] < 0
        # Student's, which lies evenly about the difference
        assert sum(change["difference"]["ci95"]) == pytest.approx(2 * change["difference"]["value"])
    assert figures["ece"]["after"]["value"] <= figures["ece"]["before"]["value"] / 2


def test_log_likelihood_and_brier_by_hand() -> None:
    figures = reliability(
        TaskAnswers(
            task=THREE,
            reference=np.array([0, 2]),
            probabilities=np.array([[0.5, 0.5, 0.0], [0.0, 0.75, 0.25]]),
            patients=("p", "q"),
        ),
        seed=0,
    )
    assert figures["nll"]["value"] == pytest.approx((np.log(2) + np.log(4)) / 2)
    assert figures["brier"]["value"] == pytest.approx((0.5 + 2 * 0.75**2) / 2)
    assert figures["ece"]["value"] == pytest.approx((0.5 + 0.75) / 2)


def test_an_ordinal_answer_has_no_confidence_of_its_top_class() -> None:
    assert list(reliability(overconfident(GRADE, 30), seed=0)) == ["nll", "brier"]


def test_every_finding_is_a_question_of_its_own() -> None:
    answers = overconfident(FINDINGS, 30)
    first, second = questions(answers)
    assert (first.task.name, second.task.name) == ("findings:cyst", "findings:mass")
    np.testing.assert_array_equal(second.reference, answers.reference[:, 1])
    np.testing.assert_array_equal(second.probabilities[:, 1], answers.probabilities[:, 1])


def test_too_few_cases_are_refused() -> None:
    with pytest.raises(DataError, match=r"found 19 cases .* expected at least 20"):
        require_enough(overconfident(THREE, 19), where="fold_0")


def test_a_class_without_enough_patients_is_refused() -> None:
    answers = overconfident(THREE, 40)
    answers.reference[answers.reference == 2] = 1
    with pytest.raises(DataError, match="found 0 patients with class 'c'; expected at least 5"):
        require_enough(answers, where="fold_0")


def test_several_cases_of_a_patient_do_not_make_up_for_patients() -> None:
    answers = overconfident(THREE, 60)
    same = TaskAnswers(
        task=THREE,
        reference=answers.reference,
        probabilities=answers.probabilities,
        patients=tuple(f"p{r}_{i % 4}" for i, r in enumerate(answers.reference)),
    )
    with pytest.raises(DataError, match="found 4 patients with class"):
        require_enough(same, where="fold_0")
    require_enough(answers, where="fold_0")


def test_a_finding_that_is_always_there_is_refused() -> None:
    answers = overconfident(FINDINGS, 40)
    answers.reference[:, 1] = True
    with pytest.raises(DataError, match=r"'findings:mass'.* 0 patients with class 'absent'"):
        require_enough(answers, where="fold_0")
