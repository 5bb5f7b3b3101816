"""B07: thickness of a wall around a cavity, in plane."""

import numpy as np
import pytest

from segduet.core.geometry import Geometry
from segduet.morphometry.wall import WALL_MEASURES, wall_thickness


def rings(outer_mm: list[float], inner_mm: float, spacing: tuple[float, float, float]):
    """One annulus per slice."""
    size = int(2 * max(outer_mm) / min(spacing[1:])) + 6
    y, x = ((np.arange(size) - (size - 1) / 2) * s for s in spacing[1:])
    radius = np.hypot(y[:, None], x[None, :])
    cavity = np.stack([radius <= inner_mm for _ in outer_mm])
    wall = np.stack([(radius > inner_mm) & (radius <= outer) for outer in outer_mm])
    geometry = Geometry(shape_zyx=wall.shape, spacing_zyx_mm=spacing)
    return wall, cavity, geometry


@pytest.mark.parametrize("spacing", [(10.0, 1.0, 1.0), (10.0, 0.5, 0.5), (8.0, 1.0, 0.8)])
def test_the_wall_of_a_ring_is_as_thick_as_its_radii_differ(spacing) -> None:
    """Radii 12 and 20 mm: 8 mm everywhere, whatever the distance between slices."""
    found = wall_thickness(*rings([20.0, 20.0], 12.0, spacing))
    assert found["thickness_mean_mm"].value == pytest.approx(8.0, abs=0.5)
    assert found["thickness_sd_between_slices_mm"].value == 0.0


def test_two_slices_of_different_walls_are_told_apart() -> None:
    found = wall_thickness(*rings([18.0, 24.0], 12.0, (10.0, 0.5, 0.5)))
    assert found["thickness_thinnest_slice_mm"].value == pytest.approx(6.0, abs=0.4)
    assert found["thickness_thickest_slice_mm"].value == pytest.approx(12.0, abs=0.4)
    assert found["thickness_sd_between_slices_mm"].value == pytest.approx(3.0, abs=0.3)


def test_a_straight_wall_is_exact_to_the_pixel() -> None:
    """A bar of 4 rows of 1.5 mm beside a cavity, open to the other side: 6 mm."""
    wall, cavity = np.zeros((1, 12, 40), dtype=bool), np.zeros((1, 12, 40), dtype=bool)
    cavity[0, :4], wall[0, 4:8] = True, True
    geometry = Geometry(shape_zyx=wall.shape, spacing_zyx_mm=(10.0, 1.5, 1.5))
    middle = wall_thickness(wall[..., 10:30].copy(), cavity[..., 10:30].copy(), geometry)
    assert middle["thickness_p95_mm"].value == pytest.approx(6.0)


def test_slices_without_a_cavity_do_not_count() -> None:
    """The apex of the myocardium is no wall around anything."""
    wall, cavity, geometry = rings([20.0, 24.0], 12.0, (10.0, 1.0, 1.0))
    cavity[1] = False
    alone = wall_thickness(wall[:1], cavity[:1], geometry)
    assert wall_thickness(wall, cavity, geometry) == alone


def test_without_a_common_slice_the_thickness_is_undefined() -> None:
    wall, cavity, geometry = rings([20.0], 12.0, (10.0, 1.0, 1.0))
    found = wall_thickness(wall, np.zeros_like(cavity), geometry)
    assert tuple(found) == WALL_MEASURES
    assert {s.reason for s in found.values()} == {"no slice holds both wall and cavity"}
