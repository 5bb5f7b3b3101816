"""How well one image fits into another when it is turned, shrunk and slid over it.

Source: normalised cross-correlation over the overlap by FFT as in Padfield 2012 (Masked object
registration in the Fourier domain, IEEE TIP 21(5), doi 10.1109/TIP.2011.2181402); the means are
those of the whole images, not of each overlap, because slow shading is taken out before.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy import fft

from segduet.dataset.thumbnails import Shape, Thumbnail, resized, structure

Flips = tuple[bool, bool, bool]
Shares = tuple[float, float, float]

_SHARE_STEPS = (0.05, 0.02)
_SMALLEST_SHARE, _LARGEST_SHARE = 0.7, 1.0
_SLACK = 0.12  # how far a part may stick out of the whole, share of the whole's size
_LEAST_OVERLAP = 0.8  # of the part
_SURE, _HOPELESS = 0.97, 0.5  # no need to try further sizes; crops of phantoms begin at 0.61


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """The structure of a whole image, ready to have parts slid over it.

    Attributes:
        whole: the image.
        shape: grid of its structure.
        slack: how far a part may stick out, cells per axis.
        padded: size at which circular correlation does not wrap for these shifts.
        spectra: transforms of the structure, of its square and of ones.
    """

    whole: Thumbnail
    shape: Shape
    slack: Shape
    padded: Shape
    spectra: tuple[np.ndarray, np.ndarray, np.ndarray]


def frame_of(whole: Thumbnail, largest: Shape) -> Frame:
    """Prepares an image; each axis has at most the cells of `largest` and of the thumbnail."""
    z, y, x = (min(n, most) for n, most in zip(whole.array.shape, largest, strict=True))
    band = structure(resized(whole.array, (z, y, x)))
    slack = tuple(int(np.ceil(_SLACK * n)) if n > 1 else 0 for n in band.shape)
    sizes = zip(band.shape, slack, strict=True)
    padded = tuple(int(fft.next_fast_len(n + s, real=True)) for n, s in sizes)
    spectra = [fft.rfftn(a, padded) for a in (band, band**2, np.ones_like(band))]
    return Frame(
        whole=whole,
        shape=(z, y, x),
        slack=(slack[0], slack[1], slack[2]),
        padded=(padded[0], padded[1], padded[2]),
        spectra=(spectra[0], spectra[1], spectra[2]),
    )


def best_correlation(frame: Frame, part: np.ndarray, image_shape: Shape, shares: Shares) -> float:
    """Highest correlation over shifts, for the sizes near a guess and for unchanged voxel size.

    Args:
        frame: the whole.
        part: (Z, Y, X) thumbnail of the other image, flips undone.
        image_shape: size of that image itself.
        shares: guess, per axis, of how much of the whole the part shows.

    Returns:
        -1 to 1.
    """
    sizes = zip(image_shape, frame.whole.shape_zyx, strict=True)
    z, y, x = (mine / whole for mine, whole in sizes)
    best, current, tried = _correlation(frame, part, shares), shares, {shares}
    if min(z, y, x) >= _SMALLEST_SHARE and max(z, y, x) <= _LARGEST_SHARE and shares != (z, y, x):
        best = max(best, _correlation(frame, part, (z, y, x)))
    if best < _HOPELESS:
        return best
    for step, axis in product(_SHARE_STEPS, range(3)):
        for near in _neighbours(current, axis, step, frame.shape):
            if near not in tried and best < _SURE:
                tried.add(near)
                correlation = _correlation(frame, part, near)
                if correlation > best:
                    best, current = correlation, near
    return best


def flipped(array: np.ndarray, flips: Flips) -> np.ndarray:
    """The array (..., Z, Y, X) reversed along the axes whose flag is set."""
    return np.flip(array, tuple(axis - 3 for axis, is_set in enumerate(flips) if is_set))


def _neighbours(shares: Shares, axis: int, step: float, shape: Shape) -> Iterator[Shares]:
    if shape[axis] == 1:
        return
    for change in (-step, step):
        near = list(shares)
        near[axis] = round(shares[axis] + change, 6)
        if _SMALLEST_SHARE <= near[axis] <= _LARGEST_SHARE:
            yield near[0], near[1], near[2]


def _correlation(frame: Frame, part: np.ndarray, shares: Shares) -> float:
    """Highest correlation over all shifts, for one size of the part."""
    sizes = zip(frame.shape, shares, strict=True)
    z, y, x = (max(1, round(n * share)) for n, share in sizes)
    band = structure(resized(part, (z, y, x)))
    spectra = [np.conj(fft.rfftn(a, frame.padded)) for a in (band, band**2, np.ones_like(band))]
    whole, whole_squared, whole_ones = frame.spectra
    shared, energy, part_energy, overlap = (
        _at_allowed_shifts(fft.irfftn(spectrum, frame.padded), frame, band.shape)
        for spectrum in (
            whole * spectra[0],
            whole_squared * spectra[2],
            whole_ones * spectra[1],
            whole_ones * spectra[2],
        )
    )
    scale = np.sqrt(np.clip(energy, 0, None) * np.clip(part_energy, 0, None))
    floor = 1e-4 * float(np.sum(band.astype(np.float64) ** 2))
    is_valid = (overlap >= _LEAST_OVERLAP * band.size) & (scale > floor)
    correlation = np.where(is_valid, shared, -1.0) / np.where(is_valid, scale, 1.0)
    return float(correlation.max())


def _at_allowed_shifts(array: np.ndarray, frame: Frame, part_shape: Shape) -> np.ndarray:
    """The entries for shifts at which the part sticks out by no more than the slack."""
    for axis in range(3):
        slack = frame.slack[axis]
        shifts = np.arange(-slack, frame.shape[axis] - part_shape[axis] + slack + 1)
        array = np.take(array, shifts % frame.padded[axis], axis=axis)
    return array
