"""F78: balls in millimetres on anisotropic grids, against sums over every voxel."""

import itertools

import numpy as np
import pytest

from segduet.cleanup.morphology import closed, dilated, opened

SPACINGS = [(1.0, 1.0, 1.0), (5.0, 0.8, 0.8), (0.7, 1.1, 2.3), (999.0, 1.0, 1.0)]


def near(mask, spacing, radius):
    """Voxels within the radius of the mask, pair by pair."""
    result = np.zeros_like(mask)
    points = np.argwhere(mask)
    for index in itertools.product(*map(range, mask.shape)):
        steps = (points - index) * spacing
        distances = np.sqrt((steps**2).sum(1))
        result[index] = bool((distances <= radius + 1e-9).any())
    return result


def sparse(seed, spacing, share):
    shape = (1, 9, 9) if spacing[0] == 999.0 else (5, 7, 7)
    return np.random.default_rng(seed).random(shape) < share


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("radius", [0.9, 1.6, 2.4])
def test_dilation_reaches_every_voxel_within_the_radius(spacing, radius):
    mask = sparse(0, spacing, 0.03)
    np.testing.assert_array_equal(
        dilated(mask, spacing, radius_mm=radius), near(mask, spacing, radius)
    )


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("radius", [0.9, 1.6, 2.4])
def test_opening_and_closing_are_made_of_both(spacing, radius):
    mask = sparse(1, spacing, 0.9)
    core = ~near(~mask, spacing, radius)
    np.testing.assert_array_equal(
        opened(mask, spacing, radius_mm=radius), near(core, spacing, radius)
    )
    thin = sparse(2, spacing, 0.1)
    # nothing beyond the border of the image: wide margins, cut off again
    grown = near(np.pad(thin, 4), spacing, radius)
    expected = ~near(~grown, spacing, radius)[4:-4, 4:-4, 4:-4]
    np.testing.assert_array_equal(closed(thin, spacing, radius_mm=radius), expected)
    assert (expected.sum() > thin.sum()) == (radius >= min(spacing))


def test_opening_takes_a_bridge_away_and_leaves_what_it_joins():
    mask = np.zeros((1, 7, 15), bool)
    mask[0, 1:6, 1:6] = mask[0, 1:6, 9:14] = True
    joined = mask.copy()
    joined[0, 3, 6:9] = True
    after = opened(joined, (999.0, 1.0, 1.0), radius_mm=1.0)
    # a disc of radius 1 is a cross: it reaches one pixel into the bridge, and into no corner
    expected = joined.copy()
    expected[0, 3, 7] = False
    for left in (1, 9):
        expected[0, 1:6:4, left : left + 5 : 4] = False
    np.testing.assert_array_equal(after, expected)


def test_thick_slices_are_not_reached_by_a_thin_ball():
    mask = np.zeros((3, 5, 5), bool)
    mask[1, 2, 2] = True
    grown = dilated(mask, (10.0, 1.0, 1.0), radius_mm=2.0)
    assert not grown[[0, 2]].any()
    assert grown[1].sum() == 13


def test_a_radius_of_a_whole_number_of_voxels_reaches_them_in_spite_of_rounding():
    mask = np.zeros((1, 1, 9), bool)
    mask[0, 0, 4] = True
    assert dilated(mask, (1.0, 1.0, 0.1), radius_mm=0.3).sum() == 7
    # a gap of six voxels is as wide as two balls that meet
    pair = np.zeros((1, 1, 12), bool)
    pair[0, 0, [2, 9]] = True
    assert np.flatnonzero(closed(pair, (1.0, 1.0, 0.1), radius_mm=0.3)).tolist() == [*range(2, 10)]


@pytest.mark.parametrize("value", [False, True])
def test_nothing_and_everything_stay_what_they_are(value):
    mask = np.full((3, 4, 5), value)
    for function in (dilated, opened, closed):
        np.testing.assert_array_equal(function(mask, (1.0, 1.0, 1.0), radius_mm=1.5), mask)
