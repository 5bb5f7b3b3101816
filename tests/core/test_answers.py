"""B02: every kind's way from table cells to targets, and from a head's outputs to answers."""

import numpy as np
import pytest
from scipy.special import expit, softmax

from segduet.core.answers import (
    answer_probabilities,
    decide,
    decided_class,
    encode_target,
    fitted_task,
    missing_target,
)
from segduet.core.errors import DataError
from segduet.core.tasks import TaskScale, TaskSpec

SUBTYPE = TaskSpec(name="subtype", classes=("a", "b", "c"))
CANCER = TaskSpec(name="cancer", kind="binary", classes=("no", "yes"))
FINDINGS = TaskSpec(name="findings", kind="multilabel", classes=("cyst", "mass", "scar"))
GRADE = TaskSpec(name="grade", kind="ordinal", classes=("low", "mid", "high"))
SIZE = TaskSpec(name="size", kind="regression", unit="mm", scale=TaskScale(mean=20.0, sd=4.0))
ALL = (SUBTYPE, CANCER, FINDINGS, GRADE, SIZE)


@pytest.mark.parametrize(
    ("task", "cell", "target"),
    [
        (SUBTYPE, "c", [2]),
        (CANCER, "yes", [1]),
        (FINDINGS, "scar|cyst", [1, 0, 1]),
        (FINDINGS, "none", [0, 0, 0]),
        (GRADE, "mid", [1]),
        (SIZE, "-2.5e1", [-25]),
    ],
)
def test_cells_become_targets(task, cell, target):
    """No finding is knowledge; only an empty cell is unknown."""
    encoded = encode_target(task, cell, where="here")
    assert encoded.tolist() == target
    assert encoded.dtype == np.float32


@pytest.mark.parametrize("task", ALL)
@pytest.mark.parametrize("cell", ["", None])
def test_an_empty_cell_is_unknown_and_never_class_0(task, cell):
    target = encode_target(task, cell, where="here")
    assert target.shape == missing_target(task).shape == (task.num_targets,)
    assert np.isnan(target).all()


@pytest.mark.parametrize(
    ("task", "cell", "message"),
    [
        (CANCER, "maybe", "class 'maybe' for 'cancer'; expected one of"),
        (GRADE, "1", "class '1' for 'grade'"),
        (FINDINGS, "cyst|tumour", "class 'tumour' for 'findings'"),
        (FINDINGS, "cyst|none", "class 'none' for 'findings'"),
        (FINDINGS, "cyst|", "class '' for 'findings'"),
        (FINDINGS, "cyst|cyst", "one of them twice"),
        (SIZE, "large", "'large' for 'size'; expected a finite number"),
        (SIZE, "nan", "'nan' for 'size'"),
        (SIZE, "inf", "'inf' for 'size'"),
        (SIZE, "1e39", "'1e39' for 'size'"),
        (SIZE, "3,5", "'3,5' for 'size'"),
    ],
)
def test_what_cannot_be_an_answer_is_refused_by_place(task, cell, message):
    with pytest.raises(DataError, match=rf"^line 4: found .*{message}"):
        encode_target(task, cell, where="line 4")


def test_outputs_become_probabilities_as_scipy_has_them():
    rng = np.random.default_rng(0)
    outputs = 3 * rng.standard_normal((7, 3))
    assert np.allclose(answer_probabilities(SUBTYPE, outputs), softmax(outputs, axis=-1))
    assert np.allclose(answer_probabilities(FINDINGS, outputs), expit(outputs))
    positive = answer_probabilities(CANCER, outputs[:, :1])
    assert np.allclose(positive, np.stack([1 - expit(outputs[:, 0]), expit(outputs[:, 0])], 1))


def test_a_binary_head_is_a_softmax_whose_first_logit_is_0():
    outputs = np.array([[-2.0], [0.0], [1.5]])
    padded = np.concatenate([np.zeros_like(outputs), outputs], axis=1)
    assert np.allclose(answer_probabilities(CANCER, outputs), softmax(padded, axis=1))


def test_ordinal_steps_become_classes():
    """Above low .8, above mid .3: low .2, mid .5, high .3."""
    steps = np.log(np.array([0.8, 0.3]) / np.array([0.2, 0.7]))
    assert answer_probabilities(GRADE, steps) == pytest.approx([0.2, 0.5, 0.3])


def test_contradicting_steps_give_no_negative_probability():
    """Above mid more often than above low: the later step is lowered to the earlier."""
    steps = np.log(np.array([0.4, 0.7]) / np.array([0.6, 0.3]))
    assert answer_probabilities(GRADE, steps) == pytest.approx([0.6, 0.0, 0.4])


def test_a_regression_answers_in_its_unit():
    assert answer_probabilities(SIZE, np.array([[0.0], [-1.5]])).tolist() == [[20.0], [14.0]]


@pytest.mark.parametrize("task", ALL)
def test_huge_outputs_stay_finite(task):
    outputs = np.where(np.arange(task.num_outputs) % 2, -1e30, 1e30).astype(np.float32)
    assert np.isfinite(answer_probabilities(task, outputs)).all()


@pytest.mark.parametrize(
    ("task", "answer", "cell"),
    [
        (SUBTYPE, [0.4, 0.4, 0.2], "a"),
        (CANCER, [0.5, 0.5], "no"),
        (CANCER, [0.4, 0.6], "yes"),
        (FINDINGS, [0.51, 0.5, 0.9], "cyst|scar"),
        (FINDINGS, [0.1, 0.2, 0.3], "none"),
        (SIZE, [0.1], "0.1"),
    ],
)
def test_answers_are_decided_in_the_tables_words(task, answer, cell):
    assert decide(task, np.array(answer)) == cell
    assert not np.isnan(encode_target(task, cell, where="round trip")).any()


def test_an_ordinal_answer_is_the_median_class():
    """.4/.25/.35: most probable is low, but either end may be far off; the middle is the median."""
    assert decide(GRADE, np.array([0.4, 0.25, 0.35])) == "mid"
    assert decided_class(GRADE, np.array([[0.5, 0.1, 0.4], [0.2, 0.2, 0.6]])).tolist() == [0, 2]


def test_the_scale_is_that_of_the_known_training_values():
    """1, 3, 5: mean 3, sd 2; an output of 1 means 5."""
    plain = TaskSpec(name="size", kind="regression", unit="mm")
    targets = np.array([[1], [np.nan], [3], [5]], dtype=np.float32)
    fitted = fitted_task(plain, targets, where="training cases")
    assert fitted.scale == TaskScale(mean=3.0, sd=2.0)
    assert answer_probabilities(fitted, np.array([1.0])).tolist() == [5.0]
    assert fitted_task(SUBTYPE, targets, where="") is SUBTYPE


@pytest.mark.parametrize("values", [[], [np.nan, np.nan], [4.0], [4.0, 4.0, np.nan]])
def test_a_regression_with_nothing_to_learn_is_refused(values):
    with pytest.raises(DataError, match=r"^fold 0, task 'size': found . known values"):
        fitted_task(SIZE, np.array(values, dtype=np.float32).reshape(-1, 1), where="fold 0")
