import numpy as np
import pytest

from segduet.evaluation.resampling import (
    exchanges,
    patient_draws,
    patient_weights,
    relabelled,
    resample_weights,
    share_as_extreme,
)


def test_a_patients_cases_are_drawn_together_and_rows_sum_to_the_patients():
    weights = resample_weights(["b", "a", "b"], seed=0, num_resamples=50)
    assert (weights[:, 0] == weights[:, 2]).all()
    assert (weights[:, 0] + weights[:, 1] == 2).all()
    assert len(np.unique(weights[:, 0])) == 3


def test_draws_are_shared_and_cannot_be_changed():
    draws = patient_draws(5, seed=3, num_resamples=20)
    assert draws is patient_draws(5, seed=3, num_resamples=20)
    weights = patient_weights(5, seed=3, num_resamples=20)
    assert weights.dtype == np.float64
    assert (weights == draws).all()
    for array in (draws, weights):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 9


def test_labels_of_whole_patients_are_swapped_where_each_patient_has_one():
    """Patient a has three cases, so that their label moves with them to one case, and back."""
    labels = np.array([1, 1, 1, 0, 2])
    patients = ["a", "a", "a", "b", "c"]
    dealt = np.concatenate(list(relabelled(labels, patients, seed=0, num_rounds=700)))
    assert dealt.shape == (700, 5)
    assert (dealt[:, :3] == dealt[:, :1]).all()
    assert {tuple(row[[0, 3, 4]]) for row in dealt} == {
        *((0, 1, 2), (0, 2, 1), (1, 0, 2)),
        *((1, 2, 0), (2, 0, 1), (2, 1, 0)),
    }


def test_patients_of_several_labels_swap_with_patients_of_equally_many_cases():
    """a and b have two cases each and exchange them in order; c stays alone with its one."""
    labels = np.array([0, 1, 2, 3, 4])
    patients = ["a", "a", "b", "b", "c"]
    dealt = np.concatenate(list(relabelled(labels, patients, seed=0, num_rounds=40)))
    assert {tuple(row) for row in dealt} == {(0, 1, 2, 3, 4), (2, 3, 0, 1, 4)}


def test_few_patients_are_exchanged_in_every_way_many_in_random_ones():
    every = exchanges(3, seed=0, num_rounds=100)
    assert {tuple(row) for row in every} == {tuple(r) for r in np.ndindex(2, 2, 2)}
    assert not every[0].any()
    some = exchanges(20, seed=0, num_rounds=100)
    assert some.shape == (101, 20)
    assert not some[0].any()
    assert 0.4 < some[1:].mean() < 0.6


def test_share_counts_ties_in_any_order_of_summation_and_leaves_undefined_rounds_out():
    rounds = np.array([0.1 + 0.2, 0.3, 0.1, np.nan])
    assert share_as_extreme(rounds, 0.3) == pytest.approx(2 / 3)
    assert share_as_extreme(rounds, 0.1 + 0.2) == pytest.approx(2 / 3)
