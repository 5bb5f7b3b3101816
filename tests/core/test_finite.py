"""NaN and infinity are found, and large numbers are not taken for them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from segduet.core.finite import is_finite


@given(arrays.arrays(st.sampled_from([np.float32, np.float64]), arrays.array_shapes(min_dims=0)))
def test_it_is_what_numpy_says_of_every_value(array):
    assert is_finite(array) == np.isfinite(array).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_bad_value_is_found(bad):
    array = np.ones((3, 50, 50), np.float32)
    array[1, 20, 49] = bad
    assert not is_finite(array)
    assert not is_finite(array[:, :, ::7])
    assert is_finite(array[2])


def test_large_numbers_are_finite_though_their_squares_are_not():
    assert is_finite(np.full(9, 3e38, np.float32))


def test_nothing_is_finite():
    assert is_finite(np.empty((0, 4), np.float32))
