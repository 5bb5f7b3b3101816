from dataclasses import replace

import numpy as np
import pytest

from segduet.core.geometry import SPACING_2D_ZYX_MM, Geometry
from segduet.core.volume import Volume

GRID = Geometry(shape_zyx=(4, 5, 6), spacing_zyx_mm=(2.5, 0.7, 0.7), origin_xyz_mm=(1, 2, 3))
FLIPPED = (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0)


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({}, []),
        ({"spacing_zyx_mm": (2.5, 0.7, 0.7005)}, []),
        ({"spacing_zyx_mm": (2.5, 0.7, 0.702)}, ["spacing"]),
        ({"origin_xyz_mm": (1, 2, 3.0005)}, []),
        ({"origin_xyz_mm": (1, 2, 3.01)}, ["origin"]),
        ({"direction_xyz": FLIPPED}, ["direction"]),
        ({"shape_zyx": (4, 5, 7)}, ["shape"]),
        (
            {"shape_zyx": (4, 6, 5), "spacing_zyx_mm": (1, 1, 1), "direction_xyz": FLIPPED},
            ["shape", "spacing", "direction"],
        ),
    ],
)
def test_what_differs_beyond_tolerance_is_named_both_ways(change: dict, names: list[str]) -> None:
    other = replace(GRID, **change)
    assert GRID.differences(other) == names
    assert other.differences(GRID) == names


def test_the_tolerance_is_in_millimetres_and_can_be_tightened() -> None:
    other = replace(GRID, origin_xyz_mm=(1, 2, 3.0005))
    assert GRID.differences(other, tolerance_mm=1e-4) == ["origin"]


def test_a_voxel_has_the_volume_of_its_spacing() -> None:
    assert GRID.voxel_volume_ml == pytest.approx(2.5 * 0.7 * 0.7 / 1000)


def test_a_2d_pixel_has_the_area_of_one_pixel_whatever_the_slice_thickness() -> None:
    flat = Geometry(shape_zyx=(1, 8, 8), spacing_zyx_mm=SPACING_2D_ZYX_MM, num_spatial_dims=2)
    assert flat.voxel_volume_ml == pytest.approx(0.001)


@pytest.mark.parametrize(
    "change",
    [
        {"shape_zyx": (0, 5, 6)},
        {"spacing_zyx_mm": (0.0, 1.0, 1.0)},
        {"spacing_zyx_mm": (float("nan"), 1.0, 1.0)},
        {"direction_xyz": (1.0, 0.0, 0.0, 1.0)},
        {"num_spatial_dims": 2},
    ],
)
def test_an_impossible_grid_cannot_be_built(change: dict) -> None:
    with pytest.raises(AssertionError):
        replace(GRID, **change)


@pytest.mark.parametrize("shape", [(4, 5, 6), (1, 4, 5, 7)])
def test_a_volume_has_channels_and_fills_its_grid(shape: tuple[int, ...]) -> None:
    assert Volume(array=np.zeros((3, 4, 5, 6)), geometry=GRID).array.shape[0] == 3
    with pytest.raises(AssertionError):
        Volume(array=np.zeros(shape), geometry=GRID)
