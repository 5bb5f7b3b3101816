"""F18: a map of where a head looks comes back to the user's grid with its sum."""

import numpy as np
import pytest

from segduet.core.geometry import Geometry
from segduet.core.plan import ConfigurationPlan
from segduet.core.prepared import Placement
from segduet.preparation.restore import restore_map


def _configuration(spacing):
    return ConfigurationPlan.model_validate(
        {
            "data_identifier": "test",
            "batch_size": 2,
            "patch_size": [4, 4, 4],
            "spacing": spacing,
            "median_image_size_in_voxels": [8, 8, 8],
            "normalization_schemes": ["NoNormalization"],
            "use_mask_for_norm": [False],
            "resampling_fn_probabilities_kwargs": {"is_seg": False, "order": 1},
            "architecture": {"network_class_name": "x", "arch_kwargs": {}},
            "batch_dice": False,
        }
    )


def _placement(prepared_shape):
    """Native (4, 6, 8); transposed (8, 4, 6), of which the box (4, 4, 6) from slice 2 is kept."""
    return Placement(
        native=Geometry(shape_zyx=(4, 6, 8), spacing_zyx_mm=(1.0, 1.0, 1.0)),
        transpose_forward=(2, 0, 1),
        transpose_backward=(1, 2, 0),
        crop_box=((2, 6), (0, 4), (0, 6)),
        prepared_shape=prepared_shape,
    )


def test_crop_and_transpose_are_undone():
    values = np.random.default_rng(0).random((4, 4, 6), dtype=np.float32)
    values /= values.sum()
    native = restore_map(
        values, placement=_placement((4, 4, 6)), configuration=_configuration([1.0] * 3)
    )
    assert native.shape == (4, 6, 8)
    np.testing.assert_allclose(native[:, :, 2:6], values.transpose(1, 2, 0), rtol=1e-5)
    assert not native[:, :, :2].any()
    assert not native[:, :, 6:].any()


def test_a_finer_grid_keeps_the_sum_and_the_place():
    """Twice as fine: 8 times as many voxels, each map voxel an eighth as heavy."""
    values = np.full((8, 8, 12), 1e-4, dtype=np.float32)
    values[4:6, 2:4, 6:8] = 1.0
    values /= values.sum()
    native = restore_map(
        values, placement=_placement((8, 8, 12)), configuration=_configuration([0.5] * 3)
    )
    assert native.sum(dtype=float) == pytest.approx(1, abs=1e-5)
    assert native.min() >= 0
    assert np.unravel_index(native.argmax(), native.shape) == (1, 3, 4)
