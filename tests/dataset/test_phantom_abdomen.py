"""F11: the abdomen phantom holds the same pancreas in a whole body."""

import numpy as np
import pytest

from segduet.core.errors import RequestError
from segduet.dataset.phantoms.abdomen import AbdomenPhantomConfig, generate_abdomen_case
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


def test_scan_smaller_than_the_organ_is_refused():
    with pytest.raises(RequestError, match="pancreas ROI"):
        AbdomenPhantomConfig(shape_zyx=(20, 512, 512))
