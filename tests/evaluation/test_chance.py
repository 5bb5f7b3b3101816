import itertools

import numpy as np
import pytest

from segduet.core.tasks import TaskSpec
from segduet.evaluation.chance import chance_p_values
from segduet.evaluation.classification import TaskAnswers
from segduet.metrics.probability import auroc

TASK = TaskSpec(name="kind", classes=("a", "b", "c"))


def answers(
    reference: np.ndarray, probabilities: np.ndarray, patients: list[str] | None = None
) -> TaskAnswers:
    names = patients or [f"p{i}" for i in range(len(reference))]
    return TaskAnswers(
        task=TASK, reference=reference, probabilities=probabilities, patients=tuple(names)
    )


def certain(classes: np.ndarray) -> np.ndarray:
    return np.eye(3)[classes] * 0.7 + 0.1


def test_right_answers_are_far_from_chance():
    """B19: none of 4999 relabelled cohorts is as good, so p is 1 / 5000."""
    truth = np.arange(30) % 3
    found = chance_p_values(answers(truth, certain(truth)), seed=0)
    assert found == {
        "macro_f1": pytest.approx(1 / 5000),
        "balanced_accuracy": pytest.approx(1 / 5000),
        "auroc": pytest.approx(1 / 5000),
    }


def test_a_run_on_permuted_labels_reports_chance():
    """Issue 5's bar: labels dealt out at random are called chance in about 95 % of cohorts."""
    rng = np.random.default_rng(3)
    truth = np.arange(36) % 3
    found = []
    for seed in range(120):
        chances = rng.dirichlet(np.ones(3), size=36)
        found.append(
            list(chance_p_values(answers(truth, chances), seed=seed, num_rounds=199).values())
        )
    p_values = np.array(found)
    # 120 cohorts: 5 % of them are 6, and more than 13 would come once in 300 times
    assert ((p_values < 0.05).sum(0) <= 13).all()
    assert (np.abs(np.median(p_values, axis=0) - 0.5) < 0.15).all()


def test_p_of_a_small_cohort_by_enumeration():
    """Four cases, one answered wrongly: balanced accuracy against all 24 orders of the labels."""
    truth, said = np.array([0, 1, 2, 2]), np.array([0, 1, 2, 1])

    def balanced(labels: np.ndarray) -> float:
        return float(np.mean([(said[labels == k] == k).mean() for k in range(3)]))

    orders = [np.array(order) for order in itertools.permutations(truth)]
    exact = np.mean([balanced(o) >= balanced(truth) - 1e-12 for o in orders])
    found = chance_p_values(answers(truth, certain(said)), seed=1)["balanced_accuracy"]
    assert found == pytest.approx(exact, abs=0.02)


def test_auroc_is_the_same_one_that_is_reported():
    """Its p would be 1 for the worst ranking and counts ties as one half, as the metric does."""
    truth = np.array([0, 0, 1, 1, 2, 2])
    worst = certain((truth + 1) % 3)
    assert auroc(truth, worst) < 0.5
    assert chance_p_values(answers(truth, worst), seed=0)["auroc"] > 0.9
    tied = np.full((6, 3), 1 / 3)
    assert chance_p_values(answers(truth, tied), seed=0)["auroc"] == 1.0


def test_many_images_of_few_patients_prove_little():
    """Six patients with ten images each, all right: only one in 90 relabellings is as good."""
    truth = np.repeat([0, 1, 2, 0, 1, 2], 10)
    owners = np.repeat([f"p{i}" for i in range(6)], 10).tolist()
    of_patients = chance_p_values(answers(truth, certain(truth), owners), seed=0)["macro_f1"]
    of_images = chance_p_values(answers(truth, certain(truth)), seed=0)["macro_f1"]
    assert of_patients == pytest.approx(1 / 90, abs=0.006)
    assert of_images < 0.001


def test_nothing_is_tested_where_nothing_can_be_dealt_out():
    same = np.zeros(4, dtype=np.int64)
    assert chance_p_values(answers(same, certain(same)), seed=0) == {}
    two = np.array([0, 1])
    assert chance_p_values(answers(two, certain(two), ["p", "p"]), seed=0) == {}
    task = TaskSpec(name="size", kind="regression")
    values = TaskAnswers(
        task=task,
        reference=np.arange(4.0),
        probabilities=np.ones((4, 1)),
        patients=("a", "b", "c", "d"),
    )
    assert chance_p_values(values, seed=0) == {}


def test_findings_are_dealt_out_as_whole_sets():
    task = TaskSpec(name="findings", kind="multilabel", classes=("cyst", "mass"))
    held = np.array([[True, True], [False, False]] * 8)
    right = TaskAnswers(
        task=task,
        reference=held,
        probabilities=np.where(held, 0.9, 0.2),
        patients=tuple(f"p{i}" for i in range(16)),
    )
    found = chance_p_values(right, seed=0)
    assert set(found) == {"macro_f1", "auroc"}
    assert max(found.values()) < 0.001
