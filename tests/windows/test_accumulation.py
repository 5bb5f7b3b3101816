"""F63: blending reproduces a constant and does not depend on the order of the windows."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from segduet.windows.accumulation import TileAccumulator
from segduet.windows.blending import gaussian_weights
from segduet.windows.tiles import region_at, tile_starts

SHAPE, PATCH = (9, 10, 13), (4, 6, 5)


def _blend(tiles, order):
    starts = tile_starts(SHAPE, PATCH)
    accumulator = TileAccumulator.in_numpy(tiles.shape[1], SHAPE, PATCH)
    for i in order:
        accumulator.add(tiles[i], starts[i])
    return accumulator.finish()


def _random_tiles(seed):
    num_tiles = len(tile_starts(SHAPE, PATCH))
    return np.random.default_rng(seed).normal(size=(num_tiles, 2, *PATCH)).astype(np.float32)


@pytest.mark.parametrize("step", [0.3, 0.5, 1.0])
def test_blending_a_constant_returns_it(step):
    accumulator = TileAccumulator.in_numpy(2, SHAPE, PATCH)
    tile = np.stack([np.full(PATCH, 3.25), np.full(PATCH, -7.0)]).astype(np.float32)
    for start in tile_starts(SHAPE, PATCH, step):
        accumulator.add(tile, start)
    blended = accumulator.finish()
    assert blended.dtype == np.float32
    np.testing.assert_allclose(blended[0], 3.25, rtol=1e-6)
    np.testing.assert_allclose(blended[1], -7.0, rtol=1e-6)


def test_windows_cut_from_one_array_give_it_back():
    array = np.random.default_rng(1).normal(size=(3, *SHAPE)).astype(np.float32)
    accumulator = TileAccumulator.in_numpy(3, SHAPE, PATCH)
    for start in tile_starts(SHAPE, PATCH):
        accumulator.add(array[:, *region_at(start, PATCH)], start)
    np.testing.assert_allclose(accumulator.finish(), array, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_order_of_the_windows_does_not_matter(random):
    tiles = _random_tiles(2)
    order = list(range(len(tiles)))
    random.shuffle(order)
    np.testing.assert_allclose(_blend(tiles, order), _blend(tiles, range(len(tiles))), atol=1e-5)


def test_overlap_is_the_weighted_mean_worked_by_hand():
    """Two windows of 2 voxels on 3: the middle one is (3 * 1 + 1 * 5) / 4."""
    weights = np.array([[[1.0, 3.0]]], dtype=np.float32)
    accumulator = TileAccumulator(
        np.zeros((1, 1, 1, 3), np.float32), np.zeros((1, 1, 3), np.float32), weights
    )
    accumulator.add(np.full((1, 1, 1, 2), 1.0, np.float32), (0, 0, 0))
    accumulator.add(np.full((1, 1, 1, 2), 5.0, np.float32), (0, 0, 1))
    np.testing.assert_allclose(accumulator.finish()[0, 0, 0], [1.0, 2.0, 5.0])


def test_torch_tensors_accumulate_to_the_same_numbers():
    tiles = _random_tiles(3)
    accumulator = TileAccumulator(
        torch.zeros((2, *SHAPE)), torch.zeros(SHAPE), torch.from_numpy(gaussian_weights(PATCH))
    )
    for tile, start in zip(tiles, tile_starts(SHAPE, PATCH), strict=True):
        accumulator.add(torch.from_numpy(tile), start)
    blended = accumulator.finish()
    np.testing.assert_allclose(blended.numpy(), _blend(tiles, range(len(tiles))), atol=1e-6)


def test_a_hole_between_windows_is_our_bug():
    accumulator = TileAccumulator.in_numpy(1, SHAPE, PATCH)
    accumulator.add(np.zeros((1, *PATCH), np.float32), (0, 0, 0))
    with pytest.raises(AssertionError, match="no window covers"):
        accumulator.finish()
