"""Where a training patch is taken from: at random, or around foreground (F09).

All shapes, patches and starts are (z, y, x). A start may be negative: the patch then reaches
beyond the image and `read_patch` fills the rest.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from segduet.windows.tiles import Shape, Start


def sample_generator(seed: int, epoch: int, index: int) -> np.random.Generator:
    """The random numbers of one sample; the same whichever worker draws it, and in any order."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(epoch, index)))


def start_bounds(shape: Shape, patch: Shape) -> tuple[Start, Start]:
    """Smallest and largest start of a patch, inclusive: it lies wholly inside the image.

    Where the image is smaller than the patch, the bounds are the one or two starts that put the
    image in the middle of it.

    Source: nnU-Net 2.8.1, nnUNetDataLoader.get_bbox.
    """
    (z0, z1), (y0, y1), (x0, x1) = (_bounds_along(n, p) for n, p in zip(shape, patch, strict=True))
    return (z0, y0, x0), (z1, y1, x1)


def _bounds_along(length: int, patch: int) -> tuple[int, int]:
    outside = math.ceil(max(patch - length, 0) / 2)
    return -outside, length + outside - patch


def choose_patch_start(
    generator: np.random.Generator,
    *,
    shape: Shape,
    patch: Shape,
    locations: Mapping[str, np.ndarray],
    foreground_share: float,
    foreground_region: str | None = None,
) -> Start:
    """First voxel of a patch: centred on foreground or anywhere, as the generator decides.

    With probability `foreground_share` the patch is centred on a random voxel of a random region
    that has any (of `foreground_region` where the case has some of it), and moved inwards where it
    would leave the image; that voxel is always in it.
    Otherwise, and for a case without any foreground, every start within `start_bounds` is equally
    likely. With a generator from `sample_generator` the choice is a function of (seed, epoch,
    index) alone. (nnU-Net forces the last samples of every batch instead, which makes its 33 %
    into 50 % at batch size 2, and lets such patches hang over the far border of the image.)

    Args:
        generator: random numbers of this sample.
        shape: shape of the case.
        patch: shape of the patch.
        locations: region name -> (N, 3) integer voxels of that region; N may be 0.
        foreground_share: probability of a patch centred on foreground, in [0, 1].
        foreground_region: a key of `locations`; None takes all regions.
    """
    assert 0 <= foreground_share <= 1, foreground_share
    lower, upper = start_bounds(shape, patch)
    regions = [name for name in sorted(locations) if len(locations[name])]
    if foreground_region in regions:
        regions = [foreground_region]
    # the draw is made for every case, so that the numbers after it do not depend on the regions
    if generator.random() < foreground_share and regions:
        voxels = locations[regions[generator.integers(len(regions))]]
        centre = np.asarray(voxels[generator.integers(len(voxels))])
        drawn = np.clip(centre - np.asarray(patch) // 2, lower, upper)
    else:
        drawn = generator.integers(lower, upper, endpoint=True)
    z, y, x = (int(i) for i in drawn)
    return (z, y, x)


def read_patch(array: Any, start: Sequence[int], patch: Shape, *, pad_value: float) -> np.ndarray:
    """The patch at `start`; what lies outside the image is `pad_value`.

    Only the voxels needed are read, so the array may be a compressed file on disk.

    Args:
        array: (C, Z, Y, X) or (Z, Y, X), numpy or anything that gives it when sliced (blosc2).
        start: first voxel, may be negative or beyond the image.
        patch: shape of the patch.
        pad_value: value outside the image.

    Returns:
        (C, *patch) or `patch` of the array's dtype; a new array.
    """
    channels = (slice(None),) * (array.ndim - 3)
    shape = array.shape[-3:]
    read = np.full((*array.shape[:-3], *patch), pad_value, dtype=array.dtype)
    first = [max(s, 0) for s in start]
    stop = [min(s + p, n) for s, p, n in zip(start, patch, shape, strict=True)]
    if all(a < b for a, b in zip(first, stop, strict=True)):
        source = [slice(a, b) for a, b in zip(first, stop, strict=True)]
        target = [slice(a - s, b - s) for a, b, s in zip(first, stop, start, strict=True)]
        read[(*channels, *target)] = array[(*channels, *source)]
    return read
