"""F78: components, equal to nnU-Net's own and to counts by hand."""

import numpy as np
import pytest

from segduet.cleanup.apply import apply_step
from segduet.cleanup.components import components_of_size, components_that_meet, largest_component
from segduet.cleanup.steps import KeepLargest
from segduet.core.geometry import Geometry
from segduet.core.labels import LabelScheme

LABELS = LabelScheme.from_dataset_json(
    {"background": 0, "a": 1, "b": 2, "c": 3}, None, where="test"
)


def blobs(seed, shape):
    """Label maps with many components of all sizes, some of which touch at corners only."""
    rng = np.random.default_rng(seed)
    return rng.choice(4, size=shape, p=[0.85, 0.07, 0.05, 0.03]).astype(np.uint8)


@pytest.mark.parametrize("shape", [(6, 9, 11), (1, 15, 16)])
@pytest.mark.parametrize("regions", [("a",), ("b", "c"), ("a", "b", "c")])
def test_the_largest_component_is_nnunets(shape, regions):
    from nnunetv2.postprocessing.remove_connected_components import (
        remove_all_but_largest_component_from_segmentation,
    )

    geometry = Geometry(shape_zyx=shape, spacing_zyx_mm=(1.0, 1.0, 1.0))
    values = [LABELS.foreground[name][0] for name in regions]
    for seed in range(20):
        label_map = blobs(seed, shape)
        ours = apply_step(label_map, geometry, LABELS, KeepLargest(regions=regions))
        theirs = remove_all_but_largest_component_from_segmentation(label_map.copy(), values)
        np.testing.assert_array_equal(ours, theirs)
        assert (ours != label_map).any()


def test_components_that_draw_level_are_all_kept():
    mask = np.zeros((1, 3, 7), bool)
    mask[0, 0, :2] = mask[0, 2, 4:6] = True
    mask[0, 0, 4] = True
    expected = mask.copy()
    expected[0, 0, 4] = False
    np.testing.assert_array_equal(largest_component(mask), expected)


def test_corners_connect():
    mask = np.zeros((2, 2, 2), bool)
    mask[0, 0, 0] = mask[1, 1, 1] = True
    np.testing.assert_array_equal(components_of_size(mask, min_voxels=2), mask)


def test_a_component_of_exactly_the_least_size_stays():
    mask = np.zeros((1, 1, 9), bool)
    mask[0, 0, :3] = mask[0, 0, 4:6] = True
    kept = components_of_size(mask, min_voxels=3)
    assert np.flatnonzero(kept).tolist() == [0, 1, 2]
    # 0.0033 ml of voxels of 0.0011 ml is 3.0000000000000004 voxels
    assert components_of_size(mask, min_voxels=0.0033 / 0.0011).sum() == 3


def test_components_that_meet_another_mask_are_kept_whole():
    mask = np.zeros((1, 1, 9), bool)
    mask[0, 0, :3] = mask[0, 0, 5:8] = True
    other = np.zeros_like(mask)
    other[0, 0, 7] = other[0, 0, 4] = True
    assert np.flatnonzero(components_that_meet(mask, other)).tolist() == [5, 6, 7]


@pytest.mark.parametrize(
    "function",
    [
        largest_component,
        lambda mask: components_of_size(mask, min_voxels=1),
        lambda mask: components_that_meet(mask, ~mask),
    ],
)
def test_an_empty_mask_stays_empty(function):
    mask = np.zeros((3, 4, 5), bool)
    result = function(mask)
    assert result.shape == mask.shape
    assert not result.any()
