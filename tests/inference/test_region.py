"""From a coarse label map to the region of the image (F72); boxes worked by hand."""

import numpy as np
import pytest

from segduet.core.geometry import Geometry
from segduet.core.prepared import Placement
from segduet.inference.region import (
    RegionRule,
    foreground_box,
    grown_at,
    native_patch,
    native_region,
    num_windows,
    touched_faces,
)
from segduet.preparation.resampling import prepared_shape
from tiny_plans import tiny_configuration

LIMITS = ((0, 20), (0, 40), (0, 40))


def with_boxes(*boxes: tuple[slice, slice, slice, int], shape=(20, 40, 40)) -> np.ndarray:
    label_map = np.zeros(shape, np.uint8)
    for z, y, x, value in boxes:
        label_map[z, y, x] = value
    return label_map


def test_parts_too_small_for_their_label_are_noise_but_no_label_is_lost() -> None:
    """A speck of 4 voxels beside 800 of its label does not count, a lesion of 8 voxels does."""
    organ = (slice(5, 13), slice(10, 20), slice(10, 20), 1)
    second = (slice(5, 7), slice(30, 35), slice(10, 15), 1)  # 50 voxels, more than 5 %
    speck = (slice(0, 1), slice(0, 2), slice(0, 2), 1)
    lesion = (slice(16, 18), slice(10, 12), slice(36, 38), 2)
    found = foreground_box(with_boxes(organ, second, speck, lesion), RegionRule())
    assert found == ((5, 18), (10, 35), (10, 38))
    everything = foreground_box(with_boxes(organ, speck), RegionRule(least_share=0))
    assert everything == ((0, 13), (0, 20), (0, 20))


def test_without_foreground_there_is_no_box() -> None:
    assert foreground_box(with_boxes(), RegionRule()) is None


def test_a_coarse_box_in_the_image_with_its_margin() -> None:
    """Grid 4 times as coarse from voxel 8 on: 8 + 4 * 2 = 16, minus 10 mm or two coarse voxels."""
    placement = Placement(
        native=Geometry(shape_zyx=(60, 60, 60), spacing_zyx_mm=(5.0, 1.0, 2.0)),
        transpose_forward=(0, 1, 2),
        transpose_backward=(0, 1, 2),
        crop_box=((8, 56), (8, 56), (0, 60)),
        prepared_shape=(12, 12, 30),
    )
    found = ((2, 3), (3, 6), (0, 10))
    limits = ((0, 60), (0, 25), (0, 60))
    region = native_region(
        found, placement, RegionRule(margin_mm=10), patch=(1, 1, 1), limits=limits
    )
    assert region == ((16 - 8, 20 + 8), (20 - 10, 25), (0, 20 + 5))


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (3.0, 0.7, 0.65), (1.5, 1.5, 1.5)])
def test_the_native_patch_is_the_largest_box_of_one_window(spacing) -> None:
    """One voxel more along any axis takes more windows."""
    configuration = tiny_configuration((8, 32, 24))
    patch = native_patch(configuration, spacing)
    box = tuple((0, n) for n in patch)
    assert num_windows(box, configuration, spacing, 0.5) == 1
    for axis in range(3):
        more = tuple((0, n + (i == axis)) for i, n in enumerate(patch))
        assert num_windows(more, configuration, spacing, 0.5) == 2
    shape = prepared_shape(patch, spacing, configuration)
    scales = zip(shape, (8, 32, 24), spacing, strict=True)
    assert all(p - s <= n <= p for n, p, s in scales)


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (39, (10, 49)),  # one voxel of the margins of 10 and 10
        (30, (15, 45)),  # half of them
        (29, (10, 50)),  # more than half: two windows
        (40, (10, 50)),
        (60, (10, 50)),
    ],
)
def test_half_of_the_margin_gives_way_to_a_single_window(length: int, expected) -> None:
    """Voxels 20 to 40 with 10 mm on both sides; a window of `length` voxels."""
    placement = Placement(
        native=Geometry(shape_zyx=(60, 60, 60), spacing_zyx_mm=(1.0, 1.0, 1.0)),
        transpose_forward=(0, 1, 2),
        transpose_backward=(0, 1, 2),
        crop_box=((0, 60),) * 3,
        prepared_shape=(30, 30, 30),
    )
    region = native_region(
        ((10, 20),) * 3, placement, RegionRule(), patch=(length,) * 3, limits=((0, 60),) * 3
    )
    assert region == (expected,) * 3
    at_the_border = native_region(
        ((0, 10),) * 3, placement, RegionRule(), patch=(25,) * 3, limits=((0, 60),) * 3
    )
    assert at_the_border == ((0, 25),) * 3  # nothing of the organ itself is cut


def test_faces_that_foreground_touches_where_the_image_goes_on() -> None:
    """The region's end along x is the image's: nothing lies behind it."""
    region = ((4, 12), (10, 20), (30, 40))
    label_map = with_boxes((slice(4, 6), slice(12, 20), slice(35, 40), 1))
    assert touched_faces(label_map, region, LIMITS) == [(0, False), (1, True)]
    assert touched_faces(np.zeros_like(label_map), region, LIMITS) == []
    grown = grown_at(region, [(0, False), (1, True)], (6, 5, 4), LIMITS)
    assert grown == ((0, 12), (10, 25), (30, 40))
