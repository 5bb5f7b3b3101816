import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import distance

from segduet.metrics.surface import (
    assd_mm,
    hd95_mm,
    hd_mm,
    masd_mm,
    nsd,
    surface_distances,
    union_box,
)


def voxels(*places: tuple[int, ...], shape=(5, 5, 8)) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    for place in places:
        mask[place] = True
    return mask


def test_two_voxels_lie_apart_by_their_spacing():
    """F82: two slices of 5 mm and two columns of 1.5 mm: the root of 100 + 9."""
    pair = voxels((1, 1, 1)), voxels((3, 3, 1))
    distances = surface_distances(*pair, spacing_mm=(5.0, 1.5, 1.5))
    for metric in (hd_mm, hd95_mm, assd_mm, masd_mm):
        assert metric(distances).value == pytest.approx(np.sqrt(109))
    assert nsd(distances, tolerance_mm=10.4).value == 0.0
    assert nsd(distances, tolerance_mm=10.5).value == 1.0


def test_hand_worked_asymmetric_pair():
    """Reference one voxel; prediction that one and two more, 2 and 4 mm away."""
    pair = voxels((1, 1, 1)), voxels((1, 1, 1), (1, 1, 3), (1, 1, 5))
    distances = surface_distances(*pair, spacing_mm=(1.0, 1.0, 1.0))
    assert hd_mm(distances).value == 4.0
    assert hd95_mm(distances).value == pytest.approx(3.8)  # of 0, 2, 4
    assert assd_mm(distances).value == pytest.approx((0 + 0 + 2 + 4) / 4)
    assert masd_mm(distances).value == pytest.approx((0 + 2) / 2)
    assert nsd(distances, tolerance_mm=2.0).value == 3 / 4


def test_only_the_outline_of_a_plane_is_its_surface():
    """A filled 3 x 3 square has eight outline pixels; the middle is on none."""
    filled = np.zeros((5, 5), dtype=bool)
    filled[1:4, 1:4] = True
    distances = surface_distances(filled, filled, spacing_mm=(1.0, 1.0))
    assert distances.of_reference.tolist() == [0.0] * 8


@pytest.mark.parametrize("metric", [hd_mm, hd95_mm, assd_mm, masd_mm])
def test_without_a_mask_there_is_no_distance(metric):
    empty, one = voxels(), voxels((1, 1, 1))
    for pair, reason in (
        ((empty, empty), "both masks are empty"),
        ((empty, one), "the reference mask is empty"),
        ((one, empty), "the predicted mask is empty"),
    ):
        score = metric(surface_distances(*pair, spacing_mm=(1.0, 1.0, 1.0)))
        assert (score.value, score.reason) == (None, reason)


def test_surface_share_of_empty_masks():
    """Both empty says nothing; exactly one empty is all wrong."""
    empty, one = voxels(), voxels((1, 1, 1))
    spacing = (1.0, 1.0, 1.0)
    both = nsd(surface_distances(empty, empty, spacing_mm=spacing), tolerance_mm=2)
    assert both.reason == "both masks are empty"
    assert nsd(surface_distances(one, empty, spacing_mm=spacing), tolerance_mm=2).value == 0.0


def test_spacing_rounded_to_float32_does_not_cross_the_tolerance():
    spacing = float(np.float32(0.1))
    pair = voxels((0, 0, 0)), voxels((0, 0, 3))
    distances = surface_distances(*pair, spacing_mm=(1.0, 1.0, spacing))
    assert 3 * spacing > 0.3
    assert nsd(distances, tolerance_mm=0.3).value == 1.0


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=24, max_size=24))
def test_distances_grow_with_the_spacing_and_do_not_depend_on_the_order_of_the_masks(marked):
    """F82: against every pair of surface points, on a grid so thin that all voxels are surface."""
    reference, prediction = (np.array(side).reshape(1, 4, 6) for side in zip(*marked, strict=True))
    if not (reference.any() and prediction.any()):
        return
    spacing = (3.0, 0.5, 2.0)
    apart = distance.cdist(*(np.argwhere(m) * spacing for m in (reference, prediction)))
    distances = surface_distances(reference, prediction, spacing_mm=spacing)
    assert distances.of_reference == pytest.approx(apart.min(1))
    assert distances.of_prediction == pytest.approx(apart.min(0))
    swapped = surface_distances(prediction, reference, spacing_mm=spacing)
    doubled = surface_distances(reference, prediction, spacing_mm=(6.0, 1.0, 4.0))
    for metric in (hd_mm, hd95_mm, assd_mm, masd_mm):
        assert metric(swapped).value == pytest.approx(metric(distances).value)
        assert metric(doubled).value == pytest.approx(2 * metric(distances).value)


def test_the_same_mask_is_near_at_every_tolerance():
    one = voxels((1, 1, 1), (1, 2, 1))
    distances = surface_distances(one, one, spacing_mm=(1.0, 1.0, 1.0))
    assert nsd(distances, tolerance_mm=0.0).value == 1.0


def test_the_smallest_box_around_both_masks():
    pair = voxels((1, 2, 3)), voxels((3, 2, 6))
    assert union_box(*pair) == (slice(1, 4), slice(2, 3), slice(3, 7))
    assert union_box(pair[0], np.zeros_like(pair[0])) == (slice(1, 2), slice(2, 3), slice(3, 4))
    assert voxels((1, 2, 3))[union_box(*map(np.zeros_like, pair))].size == 0


def test_a_hole_is_a_surface_and_the_edge_of_the_image_too():
    """A 3 x 3 x 3 cube that fills the image has 26 surface voxels, with and without its middle."""
    filled = np.ones((3, 3, 3), dtype=bool)
    hollow = filled.copy()
    hollow[1, 1, 1] = False
    distances = surface_distances(filled, hollow, spacing_mm=(2.0, 1.0, 1.0))
    assert distances.of_reference.tolist() == [0.0] * 26
    assert distances.of_prediction.tolist() == [0.0] * 26


def test_without_the_other_mask_every_point_is_infinitely_far():
    empty, two = voxels(), voxels((1, 1, 1), (1, 1, 2))
    distances = surface_distances(two, empty, spacing_mm=(1.0, 1.0, 1.0))
    assert distances.of_reference.tolist() == [np.inf, np.inf]
    assert distances.of_prediction.tolist() == []
