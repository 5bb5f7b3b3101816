import numpy as np
import pytest

from segduet.core.geometry import Geometry
from segduet.metrics.volume import volume_difference_ml, volume_ml


def test_anisotropic_voxels():
    """Five voxels of 3 x 0.5 x 0.5 mm are 3.75 mm3."""
    grid = Geometry(shape_zyx=(1, 2, 5), spacing_zyx_mm=(3.0, 0.5, 0.5))
    mask = np.zeros(grid.shape_zyx, dtype=bool)
    mask[0, 0] = True
    assert volume_ml(mask, voxel_volume_ml=grid.voxel_volume_ml) == pytest.approx(3.75e-3)


def test_difference_is_prediction_minus_reference():
    """A sign that unsigned arithmetic would lose (a known defect of another package)."""
    small, large = np.array([True, False, False]), np.array([True, True, True])
    assert volume_difference_ml(small, large, voxel_volume_ml=0.5) == 1.0
    assert volume_difference_ml(large, small, voxel_volume_ml=0.5) == -1.0


def test_empty_masks_have_no_volume_and_no_difference():
    empty = np.zeros(4, dtype=bool)
    assert volume_ml(empty, voxel_volume_ml=0.1) == 0.0
    assert volume_difference_ml(empty, empty, voxel_volume_ml=0.1) == 0.0
