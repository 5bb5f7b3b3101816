"""F66: mirroring is the mean of explicit flips, and off is off however it is said."""

import numpy as np
import pytest

from segduet.core.errors import DataError, RequestError
from segduet.inference.engine import WindowAnswers
from segduet.inference.mirroring import (
    WindowBatch,
    attend_mirrored,
    mirror_combinations,
    predict_mirrored,
)

_RNG = np.random.default_rng(0)
_IMAGE = _RNG.normal(size=(2, 1, 3, 4, 5)).astype(np.float32)
_SHARES = _RNG.random(size=(2, 1, 3, 4, 5), dtype=np.float32)
_WINDOWS = WindowBatch(image=_IMAGE, shares=_SHARES)


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
    np.testing.assert_array_equal(answers.logits, engine.predict(_IMAGE, _SHARES).logits)


@pytest.mark.parametrize(("axes", "dims"), [((2,), 2), ((0, 0), 3), ((-1,), 3), ((3,), 3)])
def test_impossible_axes_are_refused(axes, dims):
    with pytest.raises(RequestError, match="mirror axes"):
        mirror_combinations(axes, dims)


@pytest.mark.parametrize("axes", [(0,), (2,), (0, 1), (0, 1, 2)])
def test_answers_equal_the_mean_of_explicit_flips(axes, engine):
    """Shares are flipped with their windows."""
    combinations = mirror_combinations(axes, 3)
    answers = predict_mirrored(engine, _WINDOWS, combinations, where="c")
    seen = attend_mirrored(engine, _WINDOWS, combinations, {"type": np.ones(4)})
    logits, sums, attention = [], [], []
    for flip in combinations:
        image, shares = np.flip(_IMAGE, flip).copy(), np.flip(_SHARES, flip).copy()
        one = engine.predict(image, shares)
        logits.append(np.flip(one.logits, flip))
        sums.append(one.sums["type"])
        looked = engine.attend(image, shares, {"type": np.ones(4)})["type"]
        attention.append(np.flip(looked[:, None], flip)[:, 0])
    np.testing.assert_allclose(answers.logits, np.mean(logits, axis=0), atol=1e-6)
    np.testing.assert_allclose(answers.sums["type"], np.mean(sums, axis=0), rtol=1e-6)
    np.testing.assert_allclose(seen["type"], np.mean(attention, axis=0), rtol=1e-6)
    np.testing.assert_array_equal(answers.evidence["type"], one.evidence["type"])
    assert not np.allclose(answers.logits, logits[0])
    if 2 in axes:
        assert not np.allclose(answers.sums["type"], sums[0])


def test_a_mirror_costs_one_engine_call_each(engine):
    """F65: no second pass for the class answers."""
    predict_mirrored(engine, _WINDOWS, mirror_combinations((0, 1, 2), 3), where="c")
    assert engine.batch_sizes == [2] * 8


class _BrokenEngine:
    name = "broken"
    num_spatial_dims = 3

    def __init__(self, part, value):
        self._bad = {part: value}

    def predict(self, windows, shares):
        return WindowAnswers(
            logits=np.full_like(windows, self._bad.get("logits", 0)),
            sums={"type": np.full((len(windows), 2), self._bad.get("sums", 0.0))},
            evidence={"type": np.full(len(windows), self._bad.get("evidence", 0.0))},
        )

    def close(self):
        """Nothing is held."""


@pytest.mark.parametrize("part", ["sums", "evidence"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_heads_that_are_not_finite_fail_by_case_name(part, value):
    """F80: logits are looked at once they are blended, see test_window_pass."""
    with pytest.raises(DataError, match=r"case 'case_7'.*NaN or infinite.*broken"):
        predict_mirrored(_BrokenEngine(part, value), _WINDOWS, [(), (2,)], where="case_7")
