"""MATLAB v5 files of photoacoustic and ultrasound frames, one 2D frame with channels per file.

Variable names are those of the nerve data set: one or more image variables, and `ROI` for the mask.
"""

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.io import loadmat, whosmat
from scipy.io.matlab import MatReadError

from segduet.core.errors import DataError
from segduet.core.geometry import SPACING_2D_ZYX_MM, Geometry
from segduet.core.volume import Volume
from segduet.io.failures import require_file, unreadable

MAT_ENDING = ".mat"
IMAGE_VARIABLES = ("opus", "opus_nnmf", "Recons", "rec_img_nnReg", "us_enhanced", "US")
MASK_VARIABLE = "ROI"

#: What scipy raises for files that are damaged, or of version 7.3 (HDF5).
_READ_ERRORS = (
    OSError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    EOFError,
    NotImplementedError,
    zlib.error,
    MatReadError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MatImage:
    """A multi-channel frame.

    Attributes:
        volume: (C, 1, Y, X) float32.
        channel_names: variable name, numbered from 1 where a variable has several channels.
    """

    volume: Volume
    channel_names: tuple[str, ...]


def mat_variables(path: Path) -> frozenset[str]:
    """Names of the variables in a file, without loading them.

    Raises:
        DataError: missing, damaged, or saved as version 7.3.
    """
    require_file(path)
    try:
        return frozenset(name for name, _, _ in whosmat(str(path)))
    except _READ_ERRORS as error:
        raise unreadable(path, error) from error


def read_mat_image(path: Path) -> MatImage:
    """Reads all image variables of a file and joins their channels, in `IMAGE_VARIABLES` order.

    In an array with three axes the shortest is taken as the channels.

    Raises:
        DataError: damaged, no image variable, sizes that differ, or NaN or infinite values.
    """
    content = _load(path, IMAGE_VARIABLES)
    frames = {name: _channels_first(path, name, array) for name, array in content.items()}
    shapes = {frame.shape[1:] for frame in frames.values()}
    if len(shapes) != 1:
        raise DataError(
            str(path),
            found=f"image variables {sorted(frames)} of sizes {sorted(shapes)}",
            expected=f"one size, in one or more of {', '.join(IMAGE_VARIABLES)}",
            remedy="Save the frame again, or leave it out.",
        )
    names = [
        name if len(frame) == 1 else f"{name}_{number}"
        for name, frame in frames.items()
        for number in range(1, len(frame) + 1)
    ]
    joined = np.concatenate(list(frames.values())).astype(np.float32)
    if not np.isfinite(joined).all():
        raise DataError(
            str(path),
            found="pixels that are NaN or infinite",
            expected="finite values everywhere",
            remedy="Replace them, or leave the frame out.",
        )
    return MatImage(volume=_volume(joined), channel_names=tuple(names))


def read_mat_mask(path: Path) -> Volume:
    """Reads the `ROI` variable as (1, 1, Y, X), values not rounded.

    Raises:
        DataError: damaged, no such variable, or more than one channel.
    """
    content = _load(path, (MASK_VARIABLE,))
    array = content.get(MASK_VARIABLE, np.empty((0, 0, 0)))
    array = array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array
    if array.ndim != 2:
        raise DataError(
            str(path),
            found=f"variables {sorted(mat_variables(path))}",
            expected=f"a 2D array {MASK_VARIABLE!r}",
            remedy="Save the mask under this name.",
        )
    return _volume(array[None])


def _load(path: Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    require_file(path)
    try:
        content = loadmat(str(path), variable_names=list(names))
    except _READ_ERRORS as error:
        raise unreadable(path, error) from error
    return {name: np.asarray(content[name]) for name in names if name in content}


def _channels_first(path: Path, name: str, array: np.ndarray) -> np.ndarray:
    if array.ndim == 2:
        return array[None]
    shortest = int(np.argmin(array.shape))
    if array.ndim != 3 or array.shape.count(array.shape[shortest]) > 1:
        raise DataError(
            f"{path}, variable {name}",
            found=f"an array of shape {array.shape}",
            expected="(Y, X), or three axes of which the channels are the shortest",
            remedy="Save the frame as Y x X x channels.",
        )
    return np.moveaxis(array, shortest, 0)


def _volume(array_CYX: np.ndarray) -> Volume:
    array = array_CYX[:, None]
    geometry = Geometry(
        shape_zyx=(1, array.shape[2], array.shape[3]),
        spacing_zyx_mm=SPACING_2D_ZYX_MM,
        num_spatial_dims=2,
    )
    return Volume(array=array, geometry=geometry)
