"""Images and label maps of a case, whatever the file format; arrays are (C, Z, Y, X)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from segduet.core.errors import DataError, RequestError
from segduet.core.files import atomic_path
from segduet.core.finite import is_finite
from segduet.core.geometry import SPACING_2D_ZYX_MM, Geometry
from segduet.core.volume import Volume
from segduet.io.failures import require_file
from segduet.io.itk import ITK_ENDINGS, read_scan, write_scan
from segduet.io.names import SUPPORTED_ENDINGS, case_and_channel, file_ending, name_without_ending
from segduet.io.pictures import TIFF_ENDINGS, read_picture, write_picture, write_tiff_spacing

__all__ = [
    "SUPPORTED_ENDINGS",
    "case_and_channel",
    "file_ending",
    "name_without_ending",
    "read_image",
    "read_label_map",
    "read_stored_image",
    "write_label_map",
]


def read_image(paths: Sequence[Path]) -> Volume:
    """Reads one case: one file per channel, or one colour picture.

    Args:
        paths: files in channel order; at least one.

    Returns:
        (C, Z, Y, X) float32 with the values and the spacing nnU-Net's own readers give.

    Raises:
        DataError: an unknown ending, a file that is missing, damaged or cut short, NaN or infinite
            values, several time points, skewed axes, or channels on different grids.
    """
    stored = read_stored_image(paths)
    return Volume(array=stored.array.astype(np.float32, copy=False), geometry=stored.geometry)


def read_stored_image(paths: Sequence[Path]) -> Volume:
    """As `read_image`, but whole numbers stay in their type: half the memory of a CT, or less.

    Returns:
        (C, Z, Y, X) of the stored integer type, if all channels have the same, or else float32.

    Raises:
        DataError: as `read_image`.
    """
    assert paths, "an image has at least one channel"
    channels = [_read(Path(p)) for p in paths]
    first, grid = channels[0]
    for path, (array, geometry) in zip(paths, channels, strict=True):
        _check_finite(Path(path), array)
        differing = grid.differences(geometry)
        if differing:
            raise DataError(
                str(path),
                found=f"another {', '.join(differing)} than in {Path(paths[0]).name}",
                expected="all channels of a case on one grid",
                remedy="Resample the channels onto the first one's grid.",
            )
    if len(channels) == 1:
        return Volume(array=first, geometry=grid)
    is_alike = all(array.dtype == first.dtype for array, _ in channels)
    dtype = first.dtype if is_alike else np.float32
    return Volume(array=np.concatenate([a for a, _ in channels], dtype=dtype), geometry=grid)


def read_label_map(path: Path) -> Volume:
    """Reads a mask with its values as the header scales them, not rounded.

    Returns:
        (1, Z, Y, X) of the stored dtype, or float32 where the header scales the values.

    Raises:
        DataError: as `read_image`, or the file has several channels (a colour picture).
    """
    array, geometry = _decoded(Path(path))
    if array.shape[0] != 1:
        raise DataError(
            str(path),
            found=f"a mask with {array.shape[0]} colour channels",
            expected="one label value per pixel",
            remedy="Save the mask as a grey picture whose values are the labels.",
        )
    _check_finite(Path(path), array)
    return Volume(array=array, geometry=geometry)


def write_label_map(path: Path, label_map: np.ndarray, geometry: Geometry) -> None:
    """Writes a label map atomically, in the format of the ending.

    Args:
        path: target; an existing file is replaced.
        label_map: (Z, Y, X) uint8.
        geometry: its grid; read back, it has no `differences` to this one.

    Raises:
        DataError: the ending is not supported.
        RequestError: the format cannot hold this grid (millimetres in a PNG).
        StorageError: the file could not be written.
    """
    assert label_map.dtype == np.uint8, label_map.dtype
    assert label_map.shape == geometry.shape_zyx, (label_map.shape, geometry)
    ending = file_ending(path)
    if ending in ITK_ENDINGS:
        with atomic_path(path) as temporary:
            write_scan(temporary, label_map, geometry)
        return
    _check_picture_can_hold(path, ending, geometry)
    is_volume = geometry.num_spatial_dims == 3
    if is_volume:
        write_tiff_spacing(path, geometry.spacing_zyx_mm)
    with atomic_path(path) as temporary:
        write_picture(temporary, label_map if is_volume else label_map[0])


def _decoded(path: Path) -> tuple[np.ndarray, Geometry]:
    ending = file_ending(path)
    require_file(path)
    if ending in ITK_ENDINGS:
        array, geometry = read_scan(path)
        return array[None], geometry
    return read_picture(path)


def _read(path: Path) -> tuple[np.ndarray, Geometry]:
    array, geometry = _decoded(path)
    if np.issubdtype(array.dtype, np.integer):
        return array, geometry
    # a float64 value beyond float32's range becomes infinite here and is refused afterwards
    with np.errstate(over="ignore"):
        return array.astype(np.float32, copy=False), geometry


def _check_finite(path: Path, array: np.ndarray) -> None:
    if np.issubdtype(array.dtype, np.floating) and not is_finite(array):
        num_bad = int(np.count_nonzero(~np.isfinite(array)))
        raise DataError(
            str(path),
            found=f"{num_bad} voxel(s) that are NaN or infinite",
            expected="finite values everywhere",
            remedy="Replace them by what makes sense for the image (air, or 0), or leave it out.",
        )


def _check_picture_can_hold(path: Path, ending: str, geometry: Geometry) -> None:
    is_volume = geometry.num_spatial_dims == 3
    plain = Geometry(
        shape_zyx=geometry.shape_zyx,
        spacing_zyx_mm=geometry.spacing_zyx_mm if is_volume else SPACING_2D_ZYX_MM,
    )
    differing = plain.differences(geometry)
    if is_volume and ending not in TIFF_ENDINGS:
        differing = ["number of axes"]
    if differing:
        raise RequestError(
            str(path),
            found=f"a grid with its own {', '.join(differing)}",
            expected=f"one that {ending} can hold, which has no place for millimetres",
            remedy="Write .nii.gz, .nrrd or .mha instead.",
        )
