"""F64: the case-level answer follows its declared rule, whatever the order of the windows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segduet.inference.aggregation import Aggregation, WindowVotes, exact_sum, weighted_mean

_P = np.array([[0.8, 0.2], [0.4, 0.6], [0.1, 0.9]])
_OF_WINDOWS = [rule for rule in Aggregation if rule is not Aggregation.CASE]


def _votes(evidence=(0, 30, 10), image_voxels=(100, 50, 50)):
    return WindowVotes(
        evidence=np.array(evidence, dtype=float), image_voxels=np.array(image_voxels)
    )


def _answer(votes, rule, answers=_P):
    return weighted_mean(answers, votes.weights(rule))


def test_evidence_weighs_by_hand():
    """(0.4 * 30 + 0.1 * 10) / 40 = 0.325; the window that sees no lesion does not vote."""
    np.testing.assert_allclose(_answer(_votes(), Aggregation.EVIDENCE), [0.325, 0.675])
    assert _votes().total_evidence == 40


def test_without_any_evidence_the_image_voxels_weigh():
    """(0.8 * 100 + 0.4 * 50 + 0.1 * 50) / 200 = 0.525."""
    votes = _votes(evidence=(0, 0, 0))
    np.testing.assert_allclose(_answer(votes, Aggregation.EVIDENCE), [0.525, 0.475])
    assert votes.total_evidence == 0


def test_mean_counts_all_windows_the_same():
    np.testing.assert_allclose(_answer(_votes(), Aggregation.MEAN), np.mean(_P, axis=0))


def test_max_lets_the_window_with_the_most_evidence_answer():
    """Two that draw level answer together; without evidence the fullest window does."""
    np.testing.assert_array_equal(_answer(_votes(), Aggregation.MAX), _P[1])
    level = _votes(evidence=(0, 30, 30))
    np.testing.assert_allclose(_answer(level, Aggregation.MAX), [0.25, 0.75])
    np.testing.assert_array_equal(_answer(_votes(evidence=(0, 0, 0)), Aggregation.MAX), _P[0])


@pytest.mark.parametrize("rule", _OF_WINDOWS)
@pytest.mark.parametrize("evidence", [0.0, 1e-300, 5.0])
def test_a_single_window_gives_its_own_answer(rule, evidence):
    votes, answer = _votes([evidence], [64]), np.array([[0.2, 0.3, 0.5]])
    np.testing.assert_allclose(_answer(votes, rule, answer), [0.2, 0.3, 0.5], rtol=1e-14)


def test_values_in_a_unit_are_averaged_as_they_are():
    """A regression's answers do not sum to 1, and its mean must not be scaled to."""
    values = np.array([[60.0], [70.0], [80.0]])
    np.testing.assert_allclose(_answer(_votes(), Aggregation.EVIDENCE, values), [72.5])


@given(
    st.lists(
        st.tuples(st.floats(1e-6, 1), st.floats(1e-6, 1), st.floats(0, 1e7), st.integers(1, 10**7)),
        min_size=1,
        max_size=30,
    ),
    st.sampled_from(_OF_WINDOWS),
    st.randoms(use_true_random=False),
)
def test_the_order_of_windows_does_not_change_a_bit(windows, rule, random):
    def answer(chosen):
        a, b, evidence, voxels = (np.array(column) for column in zip(*chosen, strict=True))
        probabilities = np.stack([a / (a + b), b / (a + b)], axis=1)
        return _answer(_votes(evidence, voxels), rule, probabilities)

    shuffled = list(windows)
    random.shuffle(shuffled)
    np.testing.assert_array_equal(answer(windows), answer(shuffled))
    assert answer(windows).sum() == pytest.approx(1, abs=1e-12)


@given(
    st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=40),
    st.randoms(use_true_random=False),
)
def test_the_order_of_sums_does_not_change_a_bit(values, random):
    """F64: the case answer rests on these; float64 sums in order of arrival differ."""
    rows = np.array(values)[:, None] * np.array([1.0, -3.7])
    shuffled = list(rows)
    random.shuffle(shuffled)
    np.testing.assert_array_equal(exact_sum(rows), exact_sum(np.array(shuffled)))
    assert exact_sum(np.array([[1e16], [1.0], [-1e16]])) == [1.0]
