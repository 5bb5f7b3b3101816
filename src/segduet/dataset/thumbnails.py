"""Small, comparable versions of images: what is left of each when scale and brightness are not.

Arrays are (Z, Y, X); a 2D image has Z = 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

Shape = tuple[int, int, int]
Window = tuple[float, float]

#: Largest size kept of a picture and of a volume, voxels per axis.
_LARGEST_PICTURE: Shape = (1, 128, 128)
_LARGEST_VOLUME: Shape = (24, 48, 48)
_SMALLEST_SIDE = 32  # in y and x; fewer pixels look alike by chance
_ZYX = (-3, -2, -1)
_WHOLE: Window = (0.0, 1.0)
_BLUR_SHARE, _BACKGROUND_SHARE = 1 / 64, 1 / 16
_CLIP_SD = 3.0
_LEAST_SPREAD = 1e-5  # of the largest value; float32 means of a constant differ by 1e-7 of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Thumbnail:
    """A small version of one image.

    Attributes:
        case: whose image it is.
        shape_zyx: size of the image itself.
        array: float32, each axis at most as long as the image's.
    """

    case: str
    shape_zyx: Shape
    array: np.ndarray

    @property
    def is_volume(self) -> bool:
        """Whether there are several slices."""
        return self.shape_zyx[0] > 1


def thumbnail(case: str, image: np.ndarray) -> Thumbnail | None:
    """The small version of an image; its channels are averaged.

    Args:
        case: case id.
        image: (C, Z, Y, X), any dtype, finite.

    Returns:
        The thumbnail; None for an image that is constant or smaller than 32 pixels in y or x, of
        which nobody can tell whether it is a copy.
    """
    depth, height, width = (int(n) for n in image.shape[1:])
    if min(height, width) < _SMALLEST_SIDE:
        return None
    largest = _LARGEST_VOLUME if depth > 1 else _LARGEST_PICTURE
    z, y, x = (min(n, most) for n, most in zip((depth, height, width), largest, strict=True))
    array = resized(image.mean(axis=0, dtype=np.float32), (z, y, x))
    spread = float(array.std())
    if spread <= _LEAST_SPREAD * float(np.abs(array).max()):
        return None
    array = (array - array.mean()) / spread
    return Thumbnail(case=case, shape_zyx=(depth, height, width), array=array)


def resized(
    array: np.ndarray, shape: Sequence[int], windows: Sequence[Window] = (_WHOLE,) * 3
) -> np.ndarray:
    """Means over the cells of a new grid.

    Args:
        array: (..., Z, Y, X).
        shape: the new size; it may be larger, which repeats values.
        windows: per axis the part to keep, as shares from 0 to 1.
    """
    for axis, size, window in zip(_ZYX, shape, windows, strict=True):
        if size != array.shape[axis] or window != _WHOLE:
            weights = _cell_weights(array.shape[axis], size, window)
            array = _along(weights, array, axis)
    return array


def structure(array: np.ndarray) -> np.ndarray:
    """Edges and texture: what a copy keeps and another image does not share.

    Taken out are slow shading, outliers, and the mean of each slice, row and column: layers of
    tissue that lie across every image of a body part.

    Args:
        array: (..., Z, Y, X); every image for itself.

    Returns:
        The same shape, float32, mean 0; all zero where the image is constant.
    """
    fine, slow = array, array
    for axis in _ZYX:
        size = array.shape[axis]
        if size > 1:
            fine = _along(_smoothing(size, _BLUR_SHARE), fine, axis)
            slow = _along(_smoothing(size, _BACKGROUND_SHARE), slow, axis)
    band = fine - slow
    limit = _CLIP_SD * band.std(axis=_ZYX, keepdims=True)
    band = np.clip(band, -limit, limit)
    for axis in _ZYX:
        if band.shape[axis] > 1:
            others = tuple(other for other in _ZYX if other != axis)
            band = band - band.mean(axis=others, keepdims=True)
    return np.asarray(band, np.float32)


def _along(weights: np.ndarray, array: np.ndarray, axis: int) -> np.ndarray:
    single_or_double = np.result_type(array.dtype, np.float32)
    means = np.tensordot(weights.astype(single_or_double), array, axes=(1, axis))
    return np.moveaxis(means, 0, axis)


@lru_cache(maxsize=256)
def _smoothing(size: int, share: float) -> np.ndarray:
    """(size, size) Gaussian means of this share of the axis; rows sum to 1, at the ends too."""
    cells = np.arange(size)
    weights: np.ndarray = np.exp(-0.5 * ((cells[:, None] - cells) / (share * size)) ** 2)
    weights /= weights.sum(axis=1, keepdims=True)
    return weights


@lru_cache(maxsize=256)
def _cell_weights(num_in: int, num_out: int, window: Window) -> np.ndarray:
    """(num_out, num_in) share of each voxel in each cell; rows sum to 1."""
    edges = np.linspace(window[0], window[1], num_out + 1)[:, None] * num_in
    voxels = np.arange(num_in)
    overlap = np.minimum(edges[1:], voxels + 1) - np.maximum(edges[:-1], voxels)
    weights: np.ndarray = np.clip(overlap, 0, None)
    weights /= weights.sum(axis=1, keepdims=True)
    return weights
