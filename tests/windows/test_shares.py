"""F64: over all windows every voxel of the image is counted exactly once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segduet.windows.blending import gaussian_weights
from segduet.windows.shares import WindowShares
from segduet.windows.tiles import padded_to_patch, region_at, tile_starts


@given(
    st.tuples(*[st.integers(1, 12)] * 3),
    st.tuples(*[st.integers(1, 8)] * 3),
    st.sampled_from([0.3, 0.5, 1.0]),
)
def test_shares_of_a_voxel_sum_to_one_and_of_padding_to_zero(shape, patch, step):
    padded_shape, box = padded_to_patch(shape, patch)
    shares = WindowShares.of_tiling(padded_shape, patch, step, box)
    is_image, total = np.zeros(padded_shape), np.zeros(padded_shape)
    is_image[box] = 1
    for start in tile_starts(padded_shape, patch, step):
        window = shares.at(start)
        assert window.dtype == np.float32
        assert window.min() >= 0
        total[region_at(start, patch)] += window
    np.testing.assert_allclose(total, is_image, atol=1e-6)


def test_a_single_window_owns_all_of_its_image():
    _, box = padded_to_patch((4, 6, 2), (4, 6, 4))
    window = WindowShares.of_tiling((4, 6, 4), (4, 6, 4), 0.5, box).at((0, 0, 0))
    np.testing.assert_array_equal(window[:, :, 1:3], 1)
    np.testing.assert_array_equal(window[:, :, [0, 3]], 0)


def test_shares_follow_the_weights_that_blend_the_masks():
    shape, patch, box = (4, 4, 9), (4, 4, 6), (slice(0, 4), slice(0, 4), slice(0, 9))
    shares = WindowShares.of_tiling(shape, patch, 0.5, box)
    starts = tile_starts(shape, patch, 0.5)
    weights = gaussian_weights(patch)
    sums = np.zeros(shape)
    for start in starts:
        sums[region_at(start, patch)] += weights
    assert len(starts) == 2
    expected = weights / sums[region_at(starts[1], patch)]
    np.testing.assert_allclose(shares.at(starts[1]), expected, rtol=1e-5)
    with pytest.raises(KeyError):
        shares.at((0, 0, 1))
