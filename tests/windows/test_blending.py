"""F63: the blending weights are nnU-Net's Gaussian, without its float16 rounding."""

import math

import numpy as np
import pytest
import torch

from segduet.windows.blending import gaussian_weights

_PATCHES = [(16, 16, 16), (8, 20, 13), (5, 7, 9), (2, 3, 4)]


def _nnunet_gaussian(patch, dtype):
    from nnunetv2.inference.sliding_window_prediction import compute_gaussian

    return compute_gaussian(
        patch, value_scaling_factor=10, dtype=dtype, device=torch.device("cpu")
    ).numpy()


@pytest.mark.parametrize("patch", _PATCHES)
def test_weights_equal_those_of_nnunet_in_float32(patch):
    np.testing.assert_allclose(
        gaussian_weights(patch), _nnunet_gaussian(patch, torch.float32), rtol=1e-5
    )


@pytest.mark.parametrize("patch", _PATCHES)
def test_weights_equal_those_of_nnunet_within_its_float16_rounding(patch):
    np.testing.assert_allclose(
        gaussian_weights(patch), _nnunet_gaussian(patch, torch.float16), rtol=2**-10, atol=2**-24
    )


def test_a_2d_patch_has_the_weights_of_its_two_axes():
    np.testing.assert_allclose(
        gaussian_weights((1, 12, 10))[0], _nnunet_gaussian((12, 10), torch.float32), rtol=1e-5
    )


def test_peak_is_ten_and_a_weight_one_sigma_away_is_worked_by_hand():
    weights = gaussian_weights((8, 8, 8))
    assert weights.dtype == np.float32
    assert weights[4, 4, 4] == weights.max() == 10
    assert weights[4, 4, 5] == pytest.approx(10 * math.exp(-0.5))


def test_no_weight_is_zero_even_in_a_corner():
    assert gaussian_weights((64, 160, 160)).min() == pytest.approx(10 * math.exp(-24), rel=1e-4)
