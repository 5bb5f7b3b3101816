"""The nonzero box and what lies outside the filled nonzero region."""

import numpy as np

from segduet.preparation.cropping import box_slices, mark_outside, nonzero_box


def test_the_box_is_tight_over_all_channels() -> None:
    image = np.zeros((2, 5, 6, 7), np.float32)
    image[0, 1, 2, 3] = 1.0
    image[1, 3, 2, 5] = -1.0
    assert nonzero_box(image) == ((1, 4), (2, 3), (3, 6))
    assert image[(slice(None), *box_slices(nonzero_box(image)))].shape == (2, 3, 1, 3)


def test_an_empty_image_keeps_its_whole_box() -> None:
    assert nonzero_box(np.zeros((1, 2, 3, 4))) == ((0, 2), (0, 3), (0, 4))


def test_holes_are_inside_and_corners_outside() -> None:
    image = np.zeros((1, 3, 5, 5), np.float32)
    image[:, :, 0:5, 1:4] = image[:, :, 1:4, 0:5] = 1.0
    image[0, 1, 2, 2] = 0.0
    marked = mark_outside(image, None)
    assert marked[1, 2, 2] == 0
    corners = marked[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert np.all(corners == -1)
    assert np.count_nonzero(marked == -1) == corners.size


def test_labels_outside_the_nonzero_region_are_kept() -> None:
    image = np.ones((1, 1, 1, 4), np.float32)
    image[..., 3] = image[..., 2] = 0.0
    labels = np.array([[[0, 1, 0, 2]]], np.uint8)
    assert mark_outside(image, labels).tolist() == [[[0, 1, -1, 2]]]
