"""Shapes are painted where they belong, and a painted canvas becomes a CT image."""

import numpy as np
import pytest

from segduet.dataset.phantoms.canvas import (
    AIR_HU,
    Canvas,
    acquire,
    ellipsoid_ratio,
    lowest_voxels,
    tube_ratio,
)


def _canvas(shape=(12, 20, 24), spacing=(3.0, 1.5, 1.0), origin=(1.5, 0.75, 0.5)):
    return Canvas.blank(shape, spacing=spacing, origin=origin)


def _positions(canvas):
    axes = [
        np.arange(n) * s + o
        for n, s, o in zip(
            canvas.image.shape, canvas.spacing_zyx_mm, canvas.origin_zyx_mm, strict=True
        )
    ]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)


def test_box_holds_every_voxel_between_its_corners_and_stays_on_the_canvas():
    canvas = _canvas()
    low, high = np.array([4.0, -50.0, 20.0]), np.array([17.0, 9.0, 500.0])
    inside = np.all((_positions(canvas) >= low) & (_positions(canvas) <= high), axis=-1)
    box = canvas.box(low, high)
    assert inside[box].sum() == inside.sum() == 5 * 6 * 4
    # at most one voxel more at either end
    assert all(n <= m + 2 for n, m in zip(canvas.image[box].shape, (5, 6, 4), strict=True))


def test_box_beside_the_canvas_is_empty():
    canvas = _canvas()
    for low, high in (([500.0] * 3, [600.0] * 3), ([-600.0] * 3, [-500.0] * 3)):
        assert canvas.image[canvas.box(np.array(low), np.array(high))].size == 0


def test_tube_ratio_is_the_distance_to_the_nearest_point_in_radii():
    canvas = _canvas()
    points = np.array([[6.0, 6.0, 6.0], [18.0, 15.0, 12.0], [30.0, 20.0, 20.0]])
    radii = np.array([3.0, 5.0, 4.0])
    positions = _positions(canvas)
    by_hand = np.min(
        [np.linalg.norm(positions - p, axis=-1) / r for p, r in zip(points, radii, strict=True)],
        axis=0,
    )
    box = canvas.box(np.array([3.0, 3.0, 3.0]), np.array([33.0, 25.0, 22.0]))
    found = tube_ratio(canvas, box, points, radii, reach=2.0)
    np.testing.assert_allclose(found, np.minimum(by_hand[box], 2.0), atol=1e-4)


def test_ellipsoid_has_the_volume_of_its_radii():
    canvas = _canvas((60, 60, 60), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    box = (slice(0, 60), slice(0, 60), slice(0, 60))
    ratio = ellipsoid_ratio(canvas, box, np.array([30.0, 30.0, 30.0]), np.array([10.0, 15.0, 20.0]))
    assert (ratio < 1).sum() == pytest.approx(4 / 3 * np.pi * 10 * 15 * 20, rel=0.02)


@pytest.mark.parametrize(("count", "expected"), [(1, 1), (17, 17), (10_000, 60)])
def test_lowest_voxels_are_exactly_as_many_as_asked_for(count, expected):
    field = np.random.default_rng(0).permutation(60).reshape(3, 4, 5)
    mask = lowest_voxels(field, count)
    assert mask.sum() == expected
    assert field[mask].max() == expected - 1


def test_acquired_noise_has_its_standard_deviation_and_air_stays_air():
    canvas = _canvas((20, 64, 64))
    canvas.image[:, :, 32:] = 60.0
    image = acquire(canvas, noise_sd_hu=20.0, correlation_mm=1.0, rng=np.random.default_rng(0))
    assert image.dtype == np.int16
    assert image[:, :, 36:].std() == pytest.approx(20.0, rel=0.05)
    assert image[:, :, 36:].mean() == pytest.approx(60.0, abs=1.0)
    assert (image[:, :, :28] == AIR_HU).all()


def test_a_border_voxel_mixes_both_tissues():
    canvas = _canvas((8, 16, 16))
    canvas.image[:, :, :8], canvas.image[:, :, 8:] = -100.0, 100.0
    image = acquire(canvas, noise_sd_hu=0.0, correlation_mm=1.0, rng=np.random.default_rng(0))
    row = image[4, 8].astype(int)
    assert row[0] == -100
    assert row[15] == 100
    assert -90 < row[7] < 0 < row[8] < 90
    assert row[7] == pytest.approx(-row[8], abs=1)


def test_points_near_the_canvas_are_found():
    canvas = _canvas()  # 36 x 30 x 24 mm, voxel centres from (1.5, 0.75, 0.5)
    points = np.array([[18.0, 15.0, 12.0], [-1.0, 15.0, 12.0], [18.0, 15.0, 40.0]])
    assert canvas.near(points, 0.0).tolist() == [True, False, False]
    assert canvas.near(points, 3.0).tolist() == [True, True, False]
    assert canvas.near(points, 20.0).all()
