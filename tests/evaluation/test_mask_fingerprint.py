"""Feature 59: sizes and shapes of reference masks, against hand-worked values."""

import numpy as np
import pytest

from segduet.core.geometry import SPACING_2D_ZYX_MM, Geometry
from segduet.core.labels import LabelScheme
from segduet.core.volume import Volume
from segduet.evaluation.mask_fingerprint import MaskFingerprint, RegionFingerprint, mask_fingerprint

LABELS = LabelScheme(labels=(("background", (0,)), ("organ", (1,))))


def measured(
    array: np.ndarray, spacing: tuple[float, float, float] = (1.0, 1.0, 1.0), dims: int = 3
) -> MaskFingerprint:
    grid = Geometry(shape_zyx=array.shape, spacing_zyx_mm=spacing, num_spatial_dims=dims)
    return mask_fingerprint(Volume(array=array[None].astype(np.uint8), geometry=grid), LABELS)


def box(*sides: int, shape: tuple[int, int, int] = (24, 24, 64)) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(1, 1 + side) for side in sides)] = True
    return mask


def test_sizes_of_two_pieces():
    """125 voxels are a cube of five; 124 are tiny. Voxels of 4 mm3."""
    mask = box(5, 5, 5)
    mask[10:14, 10:14, 10:17] = True  # 112 voxels
    organ = measured(mask, (4.0, 1.0, 1.0)).regions["organ"]
    assert (organ.num_components, organ.num_tiny) == (2, 1)
    assert organ.volume_ml == pytest.approx((125 + 112) * 4e-3)


@pytest.mark.parametrize(
    ("sides", "radius", "volume"), [((7, 7, 7), 3.5, 343), ((3, 21, 21), 1.5, 1323)]
)
def test_compactness_of_a_cube_and_a_plate(sides, radius, volume):
    organ = measured(box(*sides)).regions["organ"]
    assert organ.compactness == pytest.approx(radius / (3 * volume / (4 * np.pi)) ** (1 / 3))


def test_compactness_is_that_of_the_largest_piece_and_follows_the_spacing():
    """A tube of 3 x 3 x 60 voxels; in voxels three times as thick it is a tube of 9 x 3 x 60 mm."""
    mask = box(3, 3, 60)
    alone = measured(mask).regions["organ"].compactness
    assert alone == pytest.approx(1.5 / (3 * 540 / (4 * np.pi)) ** (1 / 3))
    mask[10:15, 10:15, 10:15] = True
    assert measured(mask).regions["organ"].compactness == pytest.approx(alone)
    thick = measured(mask, (3.0, 1.0, 1.0)).regions["organ"].compactness
    assert thick == pytest.approx(1.5 / (3 * 1620 / (4 * np.pi)) ** (1 / 3))


def test_a_tiny_region_has_no_shape_and_an_empty_one_no_size():
    assert measured(box(2, 2, 2)).regions["organ"].compactness is None
    empty = measured(box(0, 0, 0)).regions["organ"]
    assert (empty.volume_ml, empty.num_components, empty.num_tiny) == (0.0, 0, 0)
    assert empty.compactness is None


def test_a_picture_is_measured_in_its_plane():
    """A square of 7 pixels; of a square of 5 none is tiny, of 24 pixels all."""
    picture = box(1, 7, 7)[1:2]
    found = measured(picture, SPACING_2D_ZYX_MM, dims=2)
    assert (found.has_unit, found.spacing_ratio) == (False, None)
    organ = found.regions["organ"]
    assert organ.compactness == pytest.approx(3.5 / np.sqrt(49 / np.pi))
    assert organ.volume_ml == pytest.approx(0.049)
    assert organ.num_tiny == 0
    smaller = measured(box(1, 4, 6)[1:2], SPACING_2D_ZYX_MM, dims=2).regions["organ"]
    assert smaller.num_tiny == 1


def test_spacing_of_slices():
    found = measured(box(3, 3, 3), (5.0, 1.25, 1.0))
    assert (found.has_unit, found.spacing_ratio) == (True, 5.0)


def test_masks_are_joined():
    """Volumes 0.1, 0.2, ... 1.1 ml and one without: 10th percentile 0.2, median 0.6, 90th 1.0."""
    lengths = [0, *range(1, 12)]
    joined = RegionFingerprint.of([measured(box(10, 10, n)).regions["organ"] for n in lengths])
    assert (joined.num_masks, joined.num_present, joined.num_several) == (12, 11, 0)
    assert (joined.num_components, joined.num_tiny) == (11, 1)
    assert joined.median_volume_ml == pytest.approx(0.6)
    assert joined.size_ratio == pytest.approx(1.0 / 0.2)


def test_a_region_that_never_occurs():
    joined = RegionFingerprint.of([measured(box(0, 0, 0)).regions["organ"]])
    assert (joined.num_masks, joined.num_present) == (1, 0)
    assert joined.median_volume_ml is joined.size_ratio is joined.compactness is None
