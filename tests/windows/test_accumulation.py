"""F63, F74: blending reproduces what windows agree on, and holds a few slices at a time."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segduet.windows.accumulation import SlabBlender
from segduet.windows.blending import gaussian_weights
from segduet.windows.shares import WindowShares
from segduet.windows.tiles import padded_to_patch, region_at, tile_starts


class _Tiling:
    """The windows of an image."""

    def __init__(self, shape, patch, step=0.5):
        self.shape, self.patch = shape, patch
        self.padded_shape, self.box = padded_to_patch(shape, patch)
        self.starts = tile_starts(self.padded_shape, patch, step)
        self.shares = WindowShares.of_tiling(self.padded_shape, patch, step, self.box)

    def slabs(self, windows):
        with ThreadPoolExecutor(1) as threads:
            blender = self.blender(threads, windows.shape[1])
            for window, start in zip(windows, self.starts, strict=True):
                yield from blender.finished_before(start[0])
                blender.add(window, start)
            yield from blender.finished_before(self.padded_shape[0])

    def blender(self, threads, num_channels=2):
        return SlabBlender(
            num_channels, patch=self.patch, box=self.box, shares=self.shares, threads=threads
        )

    def blended(self, windows):
        return np.concatenate([slab.copy() for slab in self.slabs(windows)], axis=1)

    def random_windows(self, num_channels=2):
        shape = (len(self.starts), num_channels, *self.patch)
        return np.random.default_rng(0).normal(size=shape).astype(np.float32)


_SMALL = st.tuples(*[st.integers(1, 12)] * 3)
_STEPS = st.sampled_from([0.2, 0.3, 0.5, 0.8, 1.0])


@settings(max_examples=60, deadline=None)
@given(_SMALL, st.tuples(*[st.integers(1, 8)] * 3), _STEPS)
def test_slab_by_slab_is_the_weighted_mean_over_the_whole_image(shape, patch, step):
    """Against sums and weight sums of the whole padded image in double precision."""
    tiling = _Tiling(shape, patch, step)
    windows = tiling.random_windows()
    weights = gaussian_weights(patch).astype(float)
    sums, weight_sums = np.zeros((2, *tiling.padded_shape)), np.zeros(tiling.padded_shape)
    for window, start in zip(windows, tiling.starts, strict=True):
        region = region_at(start, patch)
        sums[:, *region] += window * weights
        weight_sums[region] += weights
    expected = (sums / weight_sums)[:, *tiling.box]
    blended = tiling.blended(windows)
    assert blended.dtype == np.float32
    np.testing.assert_allclose(blended, expected, atol=3e-6)


@pytest.mark.parametrize("step", [0.3, 0.5, 1.0])
def test_windows_cut_from_one_array_give_it_back(step):
    tiling = _Tiling((9, 10, 13), (4, 6, 5), step)
    array = np.random.default_rng(1).normal(size=(3, 9, 10, 13)).astype(np.float32)
    windows = np.stack([array[:, *region_at(start, tiling.patch)] for start in tiling.starts])
    np.testing.assert_allclose(tiling.blended(windows), array, atol=1e-6)


def test_a_single_window_is_handed_out_unchanged():
    tiling = _Tiling((4, 5, 6), (4, 5, 6))
    windows = tiling.random_windows()
    np.testing.assert_array_equal(tiling.blended(windows), windows[0])


def test_overlap_is_the_weighted_mean_worked_by_hand():
    """Patch of 2, Gaussian weights w0 and w1: the middle of 3 voxels is (w1 * 1 + w0 * 5) / sum."""
    tiling = _Tiling((1, 1, 3), (1, 1, 2))
    w0, w1 = gaussian_weights((1, 1, 2))[0, 0]
    windows = np.stack([np.full((1, 1, 1, 2), value, np.float32) for value in (1.0, 5.0)])
    blended = tiling.blended(windows)[0, 0, 0]
    np.testing.assert_allclose(blended, [1.0, (w1 * 1 + w0 * 5) / (w0 + w1), 5.0], rtol=1e-6)


@settings(max_examples=40, deadline=None)
@given(_SMALL, st.tuples(*[st.integers(1, 8)] * 3), _STEPS)
def test_slices_leave_in_order_as_soon_as_no_window_reaches_them(shape, patch, step):
    """F74: each once, and no more than a window's depth of them is held."""
    tiling = _Tiling(shape, patch, step)
    seen = 0
    with ThreadPoolExecutor(1) as threads:
        blender = tiling.blender(threads)
        for window, start in zip(tiling.random_windows(), tiling.starts, strict=True):
            seen += sum(slab.shape[1] for slab in blender.finished_before(start[0]))
            assert seen == max(start[0] - tiling.box[0].start, 0)
            blender.add(window, start)
            assert blender._sums.shape[1] <= patch[0]
        seen += sum(slab.shape[1] for slab in blender.finished_before(tiling.padded_shape[0]))
    assert seen == shape[0]


def test_windows_out_of_order_are_our_bug():
    tiling = _Tiling((9, 4, 4), (4, 4, 4))
    windows = tiling.random_windows()
    with ThreadPoolExecutor(1) as threads:
        blender = tiling.blender(threads)
        list(blender.finished_before(tiling.starts[1][0]))
        with pytest.raises(AssertionError, match="out of order"):
            blender.add(windows[0], tiling.starts[0])
