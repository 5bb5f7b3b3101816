"""F78: cavities, against scipy's own and by hand."""

import numpy as np
from scipy import ndimage

from segduet.cleanup.holes import holes


def test_holes_of_volumes_are_scipys():
    rng = np.random.default_rng(0)
    num_filled = 0
    for _ in range(20):
        mask = ndimage.binary_dilation(rng.random((7, 8, 9)) < 0.2)
        expected = ndimage.binary_fill_holes(mask) & ~mask
        np.testing.assert_array_equal(holes(mask), expected)
        num_filled += int(expected.sum())
    assert num_filled > 20


def test_holes_of_a_picture_are_scipys_in_the_plane():
    rng = np.random.default_rng(1)
    num_filled = 0
    for _ in range(20):
        mask = rng.random((1, 12, 13)) < 0.6
        expected = ndimage.binary_fill_holes(mask[0]) & ~mask[0]
        np.testing.assert_array_equal(holes(mask)[0], expected)
        num_filled += int(expected.sum())
    assert num_filled > 20


def test_a_ring_in_one_slice_of_a_volume_closes_nothing_in():
    mask = np.zeros((3, 5, 5), bool)
    mask[1, 1:4, 1:4] = True
    mask[1, 2, 2] = False
    assert not holes(mask).any()


def test_a_cavity_at_the_border_of_the_image_is_open():
    mask = np.ones((3, 3, 3), bool)
    mask[1, 1, :2] = False
    assert not holes(mask).any()
    mask[1, 1, 0] = True
    assert np.argwhere(holes(mask)).tolist() == [[1, 1, 1]]


def test_a_diagonal_gap_leads_out_of_no_hole():
    picture = np.array([[0, 1, 1, 0], [1, 0, 1, 0], [1, 1, 1, 0]], bool)[None]
    assert np.argwhere(holes(picture)).tolist() == [[0, 1, 1]]


def test_an_empty_mask_has_no_holes():
    assert not holes(np.zeros((2, 3, 4), bool)).any()
