"""F11: the abdomen phantom holds the same pancreas in a whole body."""

import dataclasses

import numpy as np
import pytest

from segduet.core.errors import RequestError
from segduet.dataset.phantoms.abdomen import AbdomenPhantomConfig, generate_abdomen_case
from segduet.dataset.phantoms.anatomy import Curve, tilted
from segduet.dataset.phantoms.pancreas import draw_pancreas_parameters

SMALL = AbdomenPhantomConfig(shape_zyx=(50, 100, 100), spacing_zyx_mm=(6.0, 4.1, 4.1))


@pytest.fixture(scope="module")
def case():
    return generate_abdomen_case(SMALL, subtype=1, seed=7)


def test_organ_and_lesion_have_the_volume_of_the_roi_phantom(case):
    parameters = draw_pancreas_parameters(SMALL.pancreas, seed=7)
    voxel_mm3 = np.prod(SMALL.spacing_zyx_mm)
    assert (case.label_map == 2).sum() == max(1, round(parameters.lesion_mm3 / voxel_mm3))
    assert (case.label_map > 0).sum() * voxel_mm3 >= parameters.organ_mm3 - voxel_mm3


def test_air_lies_outside_the_body_only(case):
    corners = case.image[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert (corners == -1024).all()
    assert 0.2 < (case.image == -1024).mean() < 0.8
    _, y, x = (int(np.mean(axis)) for axis in np.nonzero(case.label_map))
    assert (case.image[:, y, x] > -1000).all()


def test_pancreas_is_a_small_part_amid_organs_of_like_density(case):
    """Why finding the organ is a task: most soft tissue is not pancreas."""
    soft = (case.image > 20) & (case.image < 160)
    assert (case.label_map > 0).sum() < 0.1 * soft.sum()


def test_same_seed_gives_the_same_abdomen(case):
    again = generate_abdomen_case(SMALL, subtype=1, seed=7)
    np.testing.assert_array_equal(again.image, case.image)
    np.testing.assert_array_equal(again.label_map, case.label_map)
    other = generate_abdomen_case(SMALL, subtype=1, seed=8)
    assert (other.label_map != case.label_map).any()


def test_a_table_lies_apart_behind_the_back_and_changes_nothing_else(case):
    on_table = generate_abdomen_case(dataclasses.replace(SMALL, has_table=True), subtype=1, seed=7)
    np.testing.assert_array_equal(on_table.label_map, case.label_map)
    added = on_table.image.astype(int) - case.image > 100
    back = np.flatnonzero((case.image > -500).any(axis=(0, 2))).max()
    assert np.flatnonzero(added.any(axis=(0, 2))).min() > back
    assert added.any(axis=(1, 2)).all()


def test_a_wider_placement_moves_the_organ_further_from_the_middle():
    """F72: what a coarse look has to find must not always lie in the same place."""
    spreads = []
    for placement in (0.0, 0.1):
        config = dataclasses.replace(SMALL, placement_sd=placement)
        cases = [generate_abdomen_case(config, subtype=0, seed=seed) for seed in range(3)]
        spreads.append(np.std([np.mean(np.nonzero(c.label_map), axis=1) for c in cases], axis=0))
    # in the slices, whose voxels are finer and which leave more room
    assert (spreads[1][1:] > 3 * spreads[0][1:]).all()


def test_a_tilted_organ_keeps_its_middle_and_its_lengths():
    """A quarter turn in the coronal plane, worked by hand."""
    points = np.array([[0.0, 5.0, -1.0], [0.0, 6.0, 0.0], [0.0, 7.0, 1.0]])
    turned = tilted(Curve(points_mm=points, radii_mm=np.ones(3)), 90)
    np.testing.assert_allclose(turned.points_mm, [[-1, 5, 0], [0, 6, 0], [1, 7, 0]], atol=1e-12)


def test_an_organ_that_may_tilt_is_another_one_of_the_same_volume(case):
    pancreas = dataclasses.replace(SMALL.pancreas, tilt_sd_deg=30.0)
    tilting = dataclasses.replace(SMALL, pancreas=pancreas)
    other = generate_abdomen_case(tilting, subtype=1, seed=7)
    assert (other.label_map != case.label_map).any()
    assert (other.label_map == 2).sum() == (case.label_map == 2).sum()


def test_scan_smaller_than_the_organ_is_refused():
    with pytest.raises(RequestError, match="pancreas ROI"):
        AbdomenPhantomConfig(shape_zyx=(20, 512, 512))
