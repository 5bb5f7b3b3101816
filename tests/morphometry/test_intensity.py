"""B07: brightness inside and against a shell."""

import numpy as np
import pytest

from segduet.core.geometry import Geometry
from segduet.morphometry.intensity import INTENSITY_MEASURES, region_intensity

GRID = Geometry(shape_zyx=(1, 20, 20), spacing_zyx_mm=(10.0, 2.0, 2.0))


def square() -> np.ndarray:
    mask = np.zeros((1, 20, 20), dtype=bool)
    mask[0, 8:12, 8:12] = True
    return mask


def test_statistics_inside_and_contrast_to_the_shell_are_hand_worked() -> None:
    """Inside 10 and 30: mean 20, sd 10. The shell of 4 mm is checkered 2 and 6: mean 4, sd 2."""
    y, x = np.mgrid[:20, :20]
    channel = np.where((y + x) % 2 == 0, 2.0, 6.0)[None]
    channel[0, 8:12, 8:10], channel[0, 8:12, 10:12] = 10.0, 30.0
    found = region_intensity(square(), channel, GRID, shell_mm=4.0)
    assert (found["mean"].value, found["sd"].value, found["p50"].value) == (20.0, 10.0, 20.0)
    assert found["shell_contrast"].value == pytest.approx(8.0)
    assert found["shell_sd_ratio"].value == pytest.approx(5.0)


def test_the_contrast_does_not_depend_on_the_scale_of_the_scanner() -> None:
    channel = np.random.default_rng(0).normal(size=(1, 20, 20))
    first = region_intensity(square(), channel, GRID)
    second = region_intensity(square(), 40 * channel + 1000, GRID)
    for name in ("shell_contrast", "shell_sd_ratio"):
        assert second[name].value == pytest.approx(first[name].value)
    assert second["mean"].value == pytest.approx(40 * first["mean"].value + 1000)


def test_voxels_beyond_the_shell_do_not_matter() -> None:
    channel = np.random.default_rng(0).normal(size=(1, 20, 20))
    changed = channel.copy()
    changed[0, :4] = 1e6
    assert region_intensity(square(), changed, GRID) == region_intensity(square(), channel, GRID)


def test_an_empty_region_and_a_flat_shell_say_so() -> None:
    empty = region_intensity(np.zeros((1, 20, 20), dtype=bool), np.ones((1, 20, 20)), GRID)
    assert tuple(empty) == INTENSITY_MEASURES
    assert {s.reason for s in empty.values()} == {"the region is empty"}
    flat = region_intensity(square(), np.ones((1, 20, 20)), GRID)
    assert flat["mean"].value == 1.0
    assert flat["shell_contrast"].reason.startswith("the shell around the region")
