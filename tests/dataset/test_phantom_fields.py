"""Random fields of the phantoms have the scale they promise."""

import numpy as np
import pytest

from segduet.dataset.phantoms.fields import band_texture, smooth_field, white_noise


@pytest.mark.parametrize("smoothing", [(0.0, 0.0, 0.0), (0.0, 0.8, 0.8), (2.0, 1.0, 0.4)])
def test_white_noise_keeps_unit_standard_deviation_whatever_the_smoothing(smoothing):
    field = white_noise((40, 64, 64), smoothing_voxels=smoothing, rng=np.random.default_rng(0))
    assert field.std() == pytest.approx(1.0, abs=0.03)
    assert field.mean() == pytest.approx(0.0, abs=0.03)


def test_smoothing_correlates_neighbours_along_its_axis_only():
    """A Gaussian of sd s gives the correlation exp(-d^2 / (4 s^2)) at distance d."""
    field = white_noise(
        (40, 64, 64), smoothing_voxels=(0.0, 1.5, 0.0), rng=np.random.default_rng(1)
    )
    along_z, along_y, along_x = (
        float((field * np.roll(field, 1, axis)).mean()) for axis in range(3)
    )
    assert along_y == pytest.approx(np.exp(-1 / 9), abs=0.03)
    assert along_z == pytest.approx(0, abs=0.03)
    assert along_x == pytest.approx(0, abs=0.03)


def test_smooth_field_changes_over_its_length_in_millimetres_on_any_grid():
    for spacing in ((4.0, 1.0, 1.0), (1.0, 2.0, 0.5)):
        shape = tuple(int(160 / s) for s in spacing)
        field = smooth_field(
            shape, spacing_zyx_mm=spacing, length_mm=16.0, rng=np.random.default_rng(2)
        )
        field = field - field.mean()
        for axis in range(3):
            near, far = (round(mm / spacing[axis]) for mm in (4.0, 40.0))
            n = field.shape[axis]
            correlations = [
                float(
                    (
                        np.take(field, range(n - lag), axis) * np.take(field, range(lag, n), axis)
                    ).mean()
                )
                / float(field.var())
                for lag in (near, far)
            ]
            assert correlations[0] > 0.75
            assert abs(correlations[1]) < 0.3


def test_band_texture_has_its_power_at_the_wavelength():
    texture = band_texture(
        (1, 1, 8192),
        spacing_zyx_mm=(1.0, 1.0, 0.5),
        wavelength_mm=8.0,
        rng=np.random.default_rng(3),
    )
    power = np.abs(np.fft.rfft(texture[0, 0])) ** 2
    frequency = np.fft.rfftfreq(8192, d=0.5)
    assert 1 / np.average(frequency, weights=power) == pytest.approx(8.0, rel=0.2)
    assert power[frequency < 1 / 64].sum() < 0.01 * power.sum()
