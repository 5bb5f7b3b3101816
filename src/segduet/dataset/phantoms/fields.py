"""Random fields with a known scale: correlated noise and band-limited texture (arrays are zyx)."""

import numpy as np
from scipy import ndimage

Shape = tuple[int, int, int]
Triple = tuple[float, float, float]

#: A field is drawn on a grid of this many points per correlation length and then interpolated.
_POINTS_PER_LENGTH = 2.0


def white_noise(
    shape: Shape, *, smoothing_voxels: tuple[float, ...], rng: np.random.Generator
) -> np.ndarray:
    """Gaussian noise of unit standard deviation after Gaussian smoothing, (Z, Y, X) float32.

    Args:
        shape: size of the field.
        smoothing_voxels: standard deviation of the smoothing kernel per axis; 0 leaves an axis.
        rng: source of the noise.
    """
    field = rng.standard_normal(shape, dtype=np.float32)
    for axis, smoothing in enumerate(smoothing_voxels):
        if smoothing > 0:
            ndimage.gaussian_filter1d(field, smoothing, axis=axis, output=field, mode="wrap")
            field /= _gain(smoothing, shape[axis])
    return field


def _gain(smoothing: float, size: int) -> float:
    """Standard deviation that one smoothing pass leaves of white noise."""
    impulse = np.zeros(size)
    impulse[size // 2] = 1.0
    kernel = ndimage.gaussian_filter1d(impulse, smoothing, mode="wrap")
    return float(np.sqrt((kernel**2).sum()))


def smooth_field(
    shape: Shape, *, spacing_zyx_mm: Triple, length_mm: float, rng: np.random.Generator
) -> np.ndarray:
    """A slowly varying field of about unit standard deviation, (Z, Y, X) float32.

    Drawn on a coarse grid and interpolated linearly, so it is cheap on a whole abdomen.

    Args:
        shape: size of the field.
        spacing_zyx_mm: voxel size.
        length_mm: how far one has to go for the field to change.
        rng: source of the field.
    """
    steps = [min(1.0, s * _POINTS_PER_LENGTH / length_mm) for s in spacing_zyx_mm]
    coarse_shape = tuple(max(2, int(np.ceil(n * f)) + 1) for n, f in zip(shape, steps, strict=True))
    coarse = white_noise(
        (coarse_shape[0], coarse_shape[1], coarse_shape[2]),
        smoothing_voxels=(_POINTS_PER_LENGTH / 2,) * 3,
        rng=rng,
    )
    for axis, (size, step) in enumerate(zip(shape, steps, strict=True)):
        coarse = _interpolated(coarse, axis, np.arange(size, dtype=np.float32) * np.float32(step))
    return coarse


def _interpolated(field: np.ndarray, axis: int, positions: np.ndarray) -> np.ndarray:
    low = np.minimum(positions.astype(int), field.shape[axis] - 2)
    weight = np.expand_dims(positions - low, [a for a in range(3) if a != axis])
    result: np.ndarray = np.take(field, low, axis)
    result += weight * (np.take(field, low + 1, axis) - result)
    return result


def band_texture(
    shape: Shape, *, spacing_zyx_mm: Triple, wavelength_mm: float, rng: np.random.Generator
) -> np.ndarray:
    """Texture whose power lies around one wavelength, (Z, Y, X) float32, not yet standardised.

    A difference of two Gaussian-smoothed copies of the same white noise; the narrower kernel has
    a standard deviation of wavelength / 6, the wider one of wavelength / 3.

    Args:
        shape: size of the field.
        spacing_zyx_mm: voxel size.
        wavelength_mm: distance from one bright grain to the next.
        rng: source of the texture.
    """
    noise = rng.standard_normal(shape, dtype=np.float32)
    narrow, wide = (
        ndimage.gaussian_filter(noise, [wavelength_mm / k / s for s in spacing_zyx_mm], mode="wrap")
        for k in (6.0, 3.0)
    )
    texture: np.ndarray = narrow - wide
    return texture
