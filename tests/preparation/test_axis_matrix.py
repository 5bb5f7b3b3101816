"""Products along the diagonal give what the whole matrix gives."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from segduet.preparation.axis_matrix import AxisMatrix


def cubic(old: int, new: int) -> np.ndarray:
    columns = [
        ndimage.zoom(impulse, new / old, order=3, mode="nearest", grid_mode=True)
        for impulse in np.eye(old)
    ]
    return np.stack(columns, axis=1).astype(np.float32)


@settings(max_examples=25, deadline=None)
@given(old=st.integers(2, 90), new=st.integers(2, 90), seed=st.integers(0, 9))
def test_every_axis_is_the_product_with_the_whole_matrix(old: int, new: int, seed: int) -> None:
    """F74: 1e-5 on numbers up to 5; no axis is mistaken for another."""
    dense = cubic(old, new)
    matrix = AxisMatrix(dense)
    values = np.random.default_rng(seed).normal(size=(old, 3, 4)).astype(np.float32)
    expected = np.einsum("no,oyx->nyx", dense.astype(float), values)
    along_y = matrix.along_y(np.ascontiguousarray(values.transpose(1, 0, 2)))
    along_x = matrix.along_x(np.ascontiguousarray(values.transpose(1, 2, 0)))
    np.testing.assert_allclose(along_y.transpose(1, 0, 2), expected, atol=1e-5)
    np.testing.assert_allclose(along_x.transpose(2, 0, 1), expected, atol=1e-5)
    for rows in (slice(0, 1), slice(new // 2, new), slice(0, new)):
        part = matrix.combined(values[matrix.sources(rows)], rows)
        np.testing.assert_allclose(part, expected[rows], atol=1e-5)


def test_a_new_position_needs_old_ones_near_it_only() -> None:
    """Cubic weights fall off by 3.7 per voxel: 1e-9 is reached after 16."""
    matrix = AxisMatrix(cubic(300, 400))
    needed = matrix.sources(slice(200, 201))
    assert 145 >= needed.start >= 130
    assert 155 <= needed.stop <= 170


@pytest.mark.parametrize("axis", ["along_y", "along_x"])
def test_an_identity_hands_back_what_it_is_given(axis: str) -> None:
    values = np.random.default_rng(0).normal(size=(2, 5, 5)).astype(np.float32)
    assert getattr(AxisMatrix(np.eye(5, dtype=np.float32)), axis)(values) is values
    assert not AxisMatrix(np.eye(5, dtype=np.float32)[::-1]).is_identity
