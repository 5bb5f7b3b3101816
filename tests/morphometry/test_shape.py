"""B07: sizes and shapes of regions, against hand-worked boxes and balls."""

import numpy as np
import pytest

from segduet.core.geometry import SPACING_2D_ZYX_MM, Geometry
from segduet.morphometry.shape import region_relations, region_shape


def grid(shape: tuple[int, int, int], spacing: tuple[float, float, float], dims: int = 3):
    return Geometry(shape_zyx=shape, spacing_zyx_mm=spacing, num_spatial_dims=dims)


def ball(radius_mm: float, spacing: tuple[float, float, float]) -> tuple[np.ndarray, Geometry]:
    shape = tuple(int(2 * radius_mm / s) + 5 for s in spacing)
    axes = [(np.arange(n) - (n - 1) / 2) * s for n, s in zip(shape, spacing, strict=True)]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    return z**2 + y**2 + x**2 <= radius_mm**2, grid(shape, spacing)


def test_a_box_has_the_size_of_its_edges() -> None:
    """A box of 2 x 3 x 4 voxels of 5 x 1 x 2 mm: 10 x 3 x 8 mm, 240 mm3."""
    mask = np.zeros((6, 8, 9), dtype=bool)
    mask[1:3, 2:5, 3:7] = True
    found = region_shape(mask, grid(mask.shape, (5.0, 1.0, 2.0)))
    assert found["volume_ml"].value == pytest.approx(0.24)
    extents = [found[f"extent_{axis}_mm"].value for axis in "zyx"]
    assert extents == [10.0, 3.0, 8.0]
    assert found["compactness"].value == 1.0
    assert (found["num_components"].value, found["largest_component_share"].value) == (1.0, 1.0)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 1.0, 0.5)])
def test_a_ball_has_the_surface_of_the_formula_and_sphericity_1(spacing) -> None:
    mask, geometry = ball(14.0, spacing)
    found = region_shape(mask, geometry)
    assert found["surface_mm2"].value == pytest.approx(4 * np.pi * 14**2, rel=0.03)
    assert found["sphericity"].value == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize(("scale", "tolerance"), [(1, 0.07), (2, 0.035)])
def test_a_box_approaches_the_surface_of_its_faces_and_is_no_ball(scale, tolerance) -> None:
    """Faces 2 (40 x 30 + 40 x 20 + 30 x 20) = 5200 mm2 at scale 1; edges are rounded a voxel."""
    edges = [20 * scale, 30 * scale, 40 * scale]
    mask = np.zeros([n + 4 for n in edges], dtype=bool)
    mask[2:-2, 2:-2, 2:-2] = True
    found = region_shape(mask, grid(mask.shape, (1.0, 1.0, 1.0)))
    faces = 5200 * scale**2
    assert faces * (1 - tolerance) < found["surface_mm2"].value < faces
    exact = np.pi ** (1 / 3) * (6 * 24000) ** (2 / 3) / 5200
    assert found["sphericity"].value == pytest.approx(exact, rel=tolerance * 1.1)


def test_pieces_are_counted_and_the_largest_one_weighed() -> None:
    """Six voxels and two, touching nowhere, not even at a corner."""
    mask = np.zeros((3, 8, 8), dtype=bool)
    mask[0, 0:2, 0:3] = True
    mask[2, 6, 6:8] = True
    found = region_shape(mask, grid(mask.shape, (1.0, 1.0, 1.0)))
    assert (found["num_components"].value, found["largest_component_share"].value) == (2.0, 0.75)


def test_an_empty_region_has_no_volume_and_says_why_the_rest_is_undefined() -> None:
    geometry = grid((4, 4, 4), (1.0, 1.0, 1.0))
    empty = region_shape(np.zeros((4, 4, 4), dtype=bool), geometry)
    full = region_shape(np.ones((4, 4, 4), dtype=bool), geometry)
    assert empty.keys() == full.keys()
    assert (empty["volume_ml"].value, empty["num_components"].value) == (0.0, 0.0)
    others = [s for n, s in empty.items() if n not in ("volume_ml", "num_components")]
    assert {(s.value, s.reason) for s in others} == {(None, "the region is empty")}


def test_a_disc_in_a_2d_image_has_the_perimeter_of_the_formula() -> None:
    y, x = np.mgrid[-25:26, -25:26]
    mask = (y**2 + x**2 <= 20**2)[None]
    found = region_shape(mask, grid(mask.shape, SPACING_2D_ZYX_MM, dims=2))
    assert found["perimeter_mm"].value == pytest.approx(2 * np.pi * 20, rel=0.03)
    assert found["sphericity"].value == pytest.approx(1.0, abs=0.03)
    assert "extent_z_mm" not in found
    assert "surface_mm2" not in found


def test_relations_are_ratios_of_volumes_and_distances_of_centroids_in_mm() -> None:
    """Eight voxels over two; centres 3 voxels of 2 mm and 4 of 1 mm apart: sqrt(36 + 16)."""
    a, b = np.zeros((1, 12, 12), dtype=bool), np.zeros((1, 12, 12), dtype=bool)
    a[0, 0:4, 0:2] = True  # centre (1.5, 0.5)
    b[0, 4:6, 4] = True  # centre (4.5, 4)
    found = region_relations({"a": a, "b": b}, grid(a.shape, (8.0, 2.0, 1.0)))
    assert found["a/b.volume_ratio"].value == 4.0
    assert found["a-b.centroid_distance_mm"].value == pytest.approx(np.hypot(6.0, 3.5))


def test_relations_to_an_empty_region_are_undefined_by_name() -> None:
    a, b = np.ones((1, 2, 2), dtype=bool), np.zeros((1, 2, 2), dtype=bool)
    found = region_relations({"a": a, "b": b}, grid(a.shape, (1.0, 1.0, 1.0)))
    assert {(s.value, s.reason) for s in found.values()} == {(None, "'b' is empty")}
    turned = region_relations({"b": b, "a": a}, grid(a.shape, (1.0, 1.0, 1.0)))
    assert turned["b/a.volume_ratio"].value == 0.0
    assert turned["b-a.centroid_distance_mm"].reason == "'b' is empty"
