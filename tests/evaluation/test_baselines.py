import numpy as np
import pytest

from segduet.core.errors import DataError
from segduet.core.tasks import TaskSpec
from segduet.evaluation.baselines import (
    FittingCases,
    majority_class,
    mask_volume,
    task_baselines,
)


def test_majority_answers_the_training_frequencies():
    """The quiz's 62/106/84: class 1 for every case, whatever the test set holds."""
    train = np.repeat([0, 1, 2], [62, 106, 84])
    chances = majority_class(train, num_classes=3, num_cases=2)
    assert chances.argmax(1).tolist() == [1, 1]
    assert chances[0] == pytest.approx([62 / 252, 106 / 252, 84 / 252])


def test_volume_baseline_finds_size_and_only_size():
    rng = np.random.default_rng(0)
    classes = np.arange(60) % 2
    volumes = np.stack([np.where(classes, 30.0, 3.0), np.full(60, 80.0)], axis=1)
    volumes *= rng.uniform(0.8, 1.2, size=volumes.shape)
    chances = mask_volume(volumes, classes, np.array([[3.0, 80], [30.0, 80]]), num_classes=2)
    assert chances.argmax(1).tolist() == [0, 1]
    assert chances.sum(1) == pytest.approx([1, 1])
    shuffled = mask_volume(volumes[:, 1:], classes, volumes[:, 1:], num_classes=2)
    assert (shuffled.argmax(1) == classes).mean() < 0.75


def test_class_absent_from_training_gets_no_probability():
    volumes = np.array([[1.0], [1.1], [9.0], [9.5]])
    chances = mask_volume(volumes, np.array([0, 0, 2, 2]), volumes, num_classes=3)
    assert (chances[:, 1] == 0).all()


def test_nothing_to_learn_from_is_an_error():
    with pytest.raises(DataError, match="1 classes"):
        mask_volume(np.ones((3, 1)), np.zeros(3, int), np.ones((1, 1)), num_classes=2)
    with pytest.raises(DataError, match="0 classes"):
        majority_class(np.array([], int), num_classes=2, num_cases=1)


def test_without_masks_only_the_baseline_that_looks_at_nothing_is_left():
    """F95: two of three training cases are of class b, whatever the case."""
    task = TaskSpec(name="kind", classes=("a", "b"))
    fitting = FittingCases(targets=np.array([[1.0], [0.0], [1.0]]), volumes_ml=np.empty((0, 0)))
    (only,) = task_baselines(task, fitting, ["x", "y"], None)
    assert only.name == "majority_class"
    assert {case: p.tolist() for case, p in only.probabilities.items()} == {
        case: pytest.approx([1 / 3, 2 / 3]) for case in ("x", "y")
    }
