"""B16: temperature scaling keeps what is said and changes how certainly (Guo et al. 2017)."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from segduet.core.answers import answer_probabilities, decide
from segduet.core.tasks import TaskSpec
from segduet.evaluation.calibration import num_temperatures, scaled_answers

THREE = TaskSpec(name="subtype", classes=("a", "b", "c"))
TWO = TaskSpec(name="cancer", kind="binary", classes=("no", "yes"))
FINDINGS = TaskSpec(name="findings", kind="multilabel", classes=("cyst", "mass"))
GRADE = TaskSpec(name="grade", kind="ordinal", classes=("low", "mid", "high"))
KINDS = (THREE, TWO, FINDINGS, GRADE)


def logits_of(task: TaskSpec, seed: int, num_cases: int = 40) -> np.ndarray:
    logits = 2 * np.random.default_rng(seed).normal(size=(num_cases, task.num_outputs))
    return np.sort(logits, axis=1)[:, ::-1] if task.kind == "ordinal" else logits


@pytest.mark.parametrize("task", KINDS, ids=lambda t: t.kind)
@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_scaling_probabilities_is_dividing_their_logits(task: TaskSpec, temperature: float) -> None:
    logits = logits_of(task, 0)
    temperatures = np.full(num_temperatures(task), temperature)
    scaled = scaled_answers(task, answer_probabilities(task, logits), temperatures)
    np.testing.assert_allclose(scaled, answer_probabilities(task, logits / temperature), atol=1e-9)


def test_a_softmax_is_scaled_as_scipy_would() -> None:
    logits = logits_of(THREE, 1)
    scaled = scaled_answers(THREE, softmax(logits, axis=1), np.array([2.0]))
    np.testing.assert_allclose(scaled, softmax(logits / 2, axis=1), atol=1e-12)


def test_by_hand() -> None:
    """Odds of 81 to 1 become 9 to 1 at temperature 2; of 1 to 4 they become 1 to 2."""
    two = scaled_answers(TWO, np.array([1 / 82, 81 / 82]), np.array([2.0]))
    np.testing.assert_allclose(two, [0.1, 0.9])
    found = scaled_answers(FINDINGS, np.array([0.2, 81 / 82]), np.array([2.0, 1.0]))
    np.testing.assert_allclose(found, [1 / 3, 81 / 82])


@pytest.mark.parametrize("task", KINDS, ids=lambda t: t.kind)
@given(seed=st.integers(0, 10_000), temperature=st.floats(0.25, 10))
def test_what_is_decided_stays_the_same(task: TaskSpec, seed: int, temperature: float) -> None:
    answers = answer_probabilities(task, logits_of(task, seed, num_cases=5))
    scaled = scaled_answers(task, answers, np.full(num_temperatures(task), temperature))
    assert [decide(task, a) for a in scaled] == [decide(task, a) for a in answers]
    if task.has_exclusive_classes:
        np.testing.assert_allclose(scaled.sum(1), 1)
    assert (scaled >= 0).all()


def test_certainty_itself_stays_finite() -> None:
    scaled = scaled_answers(THREE, np.array([1.0, 0.0, 0.0]), np.array([2.0]))
    assert np.isfinite(scaled).all()
    assert scaled.argmax() == 0
    assert 0.99 < scaled[0] < 1


def test_a_regression_has_no_temperature() -> None:
    assert num_temperatures(TaskSpec(name="size", kind="regression")) == 0
