"""F64: the case-level answer follows its declared rule, whatever the order of the windows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segduet.inference.aggregation import Aggregation, WindowVotes, aggregate, total_evidence

_P = [[0.8, 0.2], [0.4, 0.6], [0.1, 0.9]]


def _votes(probabilities=_P, evidence=(0, 30, 10), image_voxels=(100, 50, 50)):
    return WindowVotes(
        probabilities=np.array(probabilities, dtype=float),
        evidence=np.array(evidence, dtype=float),
        image_voxels=np.array(image_voxels),
    )


def test_evidence_weighs_by_hand():
    """(0.4 * 30 + 0.1 * 10) / 40 = 0.325; the window that sees no lesion does not vote."""
    np.testing.assert_allclose(aggregate(_votes(), Aggregation.EVIDENCE), [0.325, 0.675])
    assert total_evidence(_votes()) == 40


def test_without_any_evidence_the_image_voxels_weigh():
    """(0.8 * 100 + 0.4 * 50 + 0.1 * 50) / 200 = 0.525."""
    votes = _votes(evidence=(0, 0, 0))
    np.testing.assert_allclose(aggregate(votes, Aggregation.EVIDENCE), [0.525, 0.475])
    assert total_evidence(votes) == 0


def test_mean_counts_all_windows_the_same():
    np.testing.assert_allclose(aggregate(_votes(), Aggregation.MEAN), np.mean(_P, axis=0))


@pytest.mark.parametrize("rule", list(Aggregation))
@pytest.mark.parametrize("evidence", [0.0, 1e-300, 5.0])
def test_a_single_window_gives_its_own_answer(rule, evidence):
    votes = _votes([[0.2, 0.3, 0.5]], [evidence], [64])
    np.testing.assert_allclose(aggregate(votes, rule), [0.2, 0.3, 0.5], rtol=1e-14)


@given(
    st.lists(
        st.tuples(st.floats(1e-6, 1), st.floats(1e-6, 1), st.floats(0, 1e7), st.integers(1, 10**7)),
        min_size=1,
        max_size=30,
    ),
    st.sampled_from(list(Aggregation)),
    st.randoms(use_true_random=False),
)
def test_the_order_of_windows_does_not_change_a_bit(windows, rule, random):
    def answer(chosen):
        a, b, evidence, voxels = (np.array(column) for column in zip(*chosen, strict=True))
        probabilities = np.stack([a / (a + b), b / (a + b)], axis=1)
        return aggregate(_votes(probabilities, evidence, voxels), rule)

    shuffled = list(windows)
    random.shuffle(shuffled)
    np.testing.assert_array_equal(answer(windows), answer(shuffled))
    assert answer(windows).sum() == pytest.approx(1, abs=1e-12)
