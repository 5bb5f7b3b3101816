"""B07: fusion where it helps, and the best part where it does not."""

import numpy as np
import pytest

from segduet.evaluation.case_models import group_folds
from segduet.evaluation.stacking import FUSED, fit_stack

NUM = 120


def folds_of(classes: np.ndarray) -> list[np.ndarray]:
    groups = [f"p{i}" for i in range(len(classes))]
    return group_folds(groups, classes, class_names="abc", num_folds=5, seed=0)


def soft(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def complementary(seed: int = 0) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """One part tells class 0 from the others, the other part 1 from 2."""
    rng = np.random.default_rng(seed)
    classes = np.arange(NUM) % 3
    one = rng.normal(scale=0.5, size=(NUM, 3))
    one[:, 0] += np.where(classes == 0, 3.0, -3.0)
    two = rng.normal(scale=0.5, size=(NUM, 3))
    two[:, 1] += np.where(classes == 1, 3.0, 0.0)
    two[:, 2] += np.where(classes == 2, 3.0, 0.0)
    two[:, 0] = 2.0 + rng.normal(size=NUM)
    return {"one": soft(one), "two": soft(two)}, classes


def accuracy(answers: np.ndarray, classes: np.ndarray) -> float:
    return float((answers.argmax(1) == classes).mean())


def test_parts_that_know_different_things_are_fused_and_better_on_new_patients() -> None:
    parts, classes = complementary()
    stack = fit_stack(parts, classes, folds_of(classes), num_classes=3)
    assert stack.chosen == FUSED
    assert "fusion helped" in stack.verdict
    fresh, truth = complementary(seed=1)
    answers = stack.answers(fresh)
    assert set(answers) == {"one", "two", FUSED}
    assert np.allclose(answers[FUSED].sum(1), 1)
    best_part = max(accuracy(fresh[name], truth) for name in fresh)
    assert accuracy(answers[FUSED], truth) > best_part + 0.1


def test_a_useless_part_beside_a_good_one_is_not_fused_and_said() -> None:
    """The good part is calibrated already; noise can only cost."""
    rng = np.random.default_rng(0)
    classes = np.arange(NUM) % 3
    logits = rng.normal(size=(NUM, 3))
    logits[np.arange(NUM), classes] += 1.5
    parts = {"good": soft(1.5 * logits), "noise": soft(4 * rng.normal(size=(NUM, 3)))}
    stack = fit_stack(parts, classes, folds_of(classes), num_classes=3)
    assert stack.chosen == "good"
    assert "fusion did not help" in stack.verdict
    assert stack.figures[FUSED].log_loss >= stack.figures["good"].log_loss


def test_in_sample_answers_would_be_trusted_alone_and_out_of_fold_ones_are_not() -> None:
    """Why `fit_stack` must be given answers of models that did not see the row."""
    parts, classes = complementary()
    in_sample = np.eye(3)[classes]
    honest = soft(np.random.default_rng(2).normal(size=(NUM, 3)))
    folds = folds_of(classes)
    leaking = fit_stack({**parts, "leak": in_sample}, classes, folds, num_classes=3)
    truthful = fit_stack({**parts, "leak": honest}, classes, folds, num_classes=3)
    assert leaking.chosen == "leak"
    assert truthful.chosen in ("one", "two", FUSED)


def test_a_single_part_is_taken_as_it_is() -> None:
    parts, classes = complementary()
    stack = fit_stack({"one": parts["one"]}, classes, folds_of(classes), num_classes=3)
    assert (stack.chosen, stack.meta) == ("one", None)
    assert set(stack.answers({"one": parts["one"]})) == {"one"}
    assert stack.verdict == "only one part, one"


def test_the_figures_are_the_formulas() -> None:
    """Two patients of each class; probabilities of the truth 0.8, 0.5, 0.4 and 0.9."""
    answers = np.array([[0.8, 0.2], [0.5, 0.5], [0.6, 0.4], [0.1, 0.9]])
    classes = np.array([0, 0, 1, 1])
    folds = [np.array([0, 2]), np.array([1, 3])]
    stack = fit_stack({"only": answers}, classes, folds, num_classes=2)
    expected = -np.log([0.8, 0.5, 0.4, 0.9]).mean()
    assert stack.figures["only"].log_loss == pytest.approx(expected)
    # class 0: 2 right, 1 wrongly added: 4 / 5; class 1: 1 right, 1 missed: 2 / 3
    assert stack.figures["only"].macro_f1 == pytest.approx((0.8 + 2 / 3) / 2)
