"""F66: mirroring is the mean of explicit flips, and off is off however it is said."""

import numpy as np
import pytest
from scipy.special import softmax as scipy_softmax

from segduet.core.errors import DataError, RequestError
from segduet.inference.engine import WindowAnswers
from segduet.inference.mirroring import mirror_combinations, predict_mirrored, softmax

_WINDOWS = np.random.default_rng(0).normal(size=(2, 1, 3, 4, 5)).astype(np.float32)


def test_combinations_are_every_subset_of_the_axes_first_none():
    assert mirror_combinations((0, 1, 2), 3) == [
        (), (2,), (3,), (4,), (2, 3), (2, 4), (3, 4), (2, 3, 4),
    ]  # fmt: skip


def test_axes_of_a_2d_network_are_y_and_x():
    assert mirror_combinations((0, 1), 2) == [(), (3,), (4,), (3, 4)]


@pytest.mark.parametrize("off", [None, (), []])
def test_none_and_empty_both_mean_one_pass(off, engine):
    """nnU-Net crashes on () and needs None."""
    assert mirror_combinations(off, 3) == [()]
    answers = predict_mirrored(engine, _WINDOWS, mirror_combinations(off, 3), where="c")
    np.testing.assert_array_equal(answers.logits, engine.predict(_WINDOWS).logits)


@pytest.mark.parametrize(("axes", "dims"), [((2,), 2), ((0, 0), 3), ((-1,), 3), ((3,), 3)])
def test_impossible_axes_are_refused(axes, dims):
    with pytest.raises(RequestError, match="mirror axes"):
        mirror_combinations(axes, dims)


@pytest.mark.parametrize("axes", [(0,), (2,), (0, 1), (0, 1, 2)])
def test_answers_equal_the_mean_of_explicit_flips(axes, engine):
    combinations = mirror_combinations(axes, 3)
    answers = predict_mirrored(engine, _WINDOWS, combinations, where="c")
    logits, probabilities, evidence = [], [], []
    for flip in combinations:
        one = engine.predict(np.flip(_WINDOWS, flip).copy())
        logits.append(np.flip(one.logits, flip))
        probabilities.append(scipy_softmax(one.case_logits["type"].astype(float), axis=1))
        evidence.append(one.evidence["type"])
    np.testing.assert_allclose(answers.logits, np.mean(logits, axis=0), atol=1e-6)
    np.testing.assert_allclose(answers.probabilities["type"], np.mean(probabilities, 0), atol=1e-7)
    np.testing.assert_allclose(answers.evidence["type"], np.mean(evidence, axis=0))
    assert not np.allclose(answers.logits, logits[0])
    if 2 in axes:
        assert not np.allclose(answers.probabilities["type"], probabilities[0])


def test_a_mirror_costs_one_engine_call_each(engine):
    """F65: no second pass for the class answers."""
    predict_mirrored(engine, _WINDOWS, mirror_combinations((0, 1, 2), 3), where="c")
    assert engine.batch_sizes == [2] * 8


def test_softmax_survives_large_logits():
    np.testing.assert_allclose(
        softmax(np.array([[1000.0, 1000.0], [0.0, -1e4]], dtype=np.float32)), [[0.5, 0.5], [1, 0]]
    )


class _BrokenEngine:
    name = "broken"
    num_spatial_dims = 3

    def __init__(self, part, value):
        self._bad = {part: value}

    def predict(self, windows):
        return WindowAnswers(
            logits=np.full_like(windows, self._bad.get("logits", 0)),
            case_logits={"type": np.full((len(windows), 2), self._bad.get("class", 0.0))},
            evidence={"type": np.full(len(windows), self._bad.get("evidence", 0.0))},
        )

    def close(self):
        """Nothing is held."""


@pytest.mark.parametrize("part", ["logits", "class", "evidence"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_answers_that_are_not_finite_fail_by_case_name(part, value):
    """F80: a NaN would otherwise end as class 0 through argmax."""
    with pytest.raises(DataError, match=r"case 'case_7'.*NaN or infinite.*broken"):
        predict_mirrored(_BrokenEngine(part, value), _WINDOWS, [(), (2,)], where="case_7")
