"""Natural-image formats (PNG, BMP, TIFF), which carry no millimetres; axis order is CZYX.

A 3D TIFF may have its spacing in `<case>.json` beside it, as in nnU-Net: `{"spacing": [z, y, x]}`.
"""

import logging
import re
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from segduet.core.errors import DataError
from segduet.core.files import read_json, write_json
from segduet.core.geometry import SPACING_2D_ZYX_MM, Geometry
from segduet.io.failures import unreadable
from segduet.io.names import name_without_ending

log = logging.getLogger(__name__)

TIFF_ENDINGS = (".tif", ".tiff")
_PLAIN_MODES = ("1", "L", "I;16", "I;16B", "I", "F", "RGB", "RGBA")
_COLOURS = (3, 4)


def read_picture(path: Path) -> tuple[np.ndarray, Geometry]:
    """Reads a PNG, BMP or TIFF.

    Returns:
        (C, Z, Y, X) array of the stored dtype, and its grid. Colour images have C = 3 or 4; a
        palette is resolved into colours. A TIFF with three axes is a colour image where its first
        or last axis has 3 or 4 entries (as in nnU-Net and scikit-image), a volume otherwise.

    Raises:
        DataError: unreadable, another number of axes, or a wrong spacing file.
    """
    is_tiff = path.name.lower().endswith(TIFF_ENDINGS)
    array = _tiff_values(path) if is_tiff else _pixels(path)
    if array.ndim == 3 and array.shape[-1] in _COLOURS:
        array = np.moveaxis(array, -1, 0)
    elif array.ndim == 3 and array.shape[0] not in _COLOURS:
        return array[None], _volume_geometry(path, array.shape)
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise DataError(
            str(path),
            found=f"an image of shape {array.shape}",
            expected="a grey or colour picture, or a 3D TIFF",
            remedy="Save every channel as a file of its own.",
        )
    array = array.reshape(-1, 1, *array.shape[-2:])
    return array, Geometry(
        shape_zyx=(1, array.shape[2], array.shape[3]),
        spacing_zyx_mm=SPACING_2D_ZYX_MM,
        num_spatial_dims=2,
    )


def write_picture(path: Path, array: np.ndarray) -> None:
    """Writes a (Y, X) array losslessly as PNG, BMP or TIFF, or (Z, Y, X) as TIFF; not atomic."""
    if path.name.lower().endswith(TIFF_ENDINGS):
        import tifffile

        tifffile.imwrite(path, array, photometric="minisblack", compression="zlib")
    else:
        from PIL import Image

        Image.fromarray(array).save(path)


def write_tiff_spacing(path: Path, spacing_zyx_mm: tuple[float, float, float]) -> None:
    """Writes the spacing file of a 3D TIFF label map, `<case>.json` beside it."""
    write_json(
        path.with_name(f"{name_without_ending(path)}.json"), {"spacing": list(spacing_zyx_mm)}
    )


def tiff_spacing_file(path: Path) -> Path | None:
    """The spacing file of a TIFF, named with or without its channel number; None where absent."""
    name = name_without_ending(path)
    candidates = (path.with_name(f"{n}.json") for n in (name, re.sub(r"_\d{4}$", "", name)))
    return next((c for c in candidates if c.is_file()), None)


def _pixels(path: Path) -> np.ndarray:
    from PIL import Image  # here, as readers of scans do without

    try:
        with Image.open(path) as image:
            mode = image.mode
            if mode == "P":
                assert image.palette is not None
                return np.asarray(image.convert(image.palette.mode))
            array = np.asarray(image)
    except (OSError, SyntaxError, ValueError, zlib.error, Image.DecompressionBombError) as error:
        raise unreadable(path, error) from error
    if mode not in _PLAIN_MODES:
        raise DataError(
            str(path),
            found=f"the pixel mode {mode!r}",
            expected="grey (8 or 16 bit), RGB or RGBA",
            remedy="Convert the picture.",
        )
    return array


def _tiff_values(path: Path) -> np.ndarray:
    import tifffile

    try:
        array: np.ndarray = tifffile.imread(path)
    except (
        OSError,
        ValueError,
        EOFError,
        IndexError,
        KeyError,
        struct.error,
        zlib.error,
        tifffile.TiffFileError,
    ) as error:
        raise unreadable(path, error) from error
    return array


def _volume_geometry(path: Path, shape: tuple[int, ...]) -> Geometry:
    source = tiff_spacing_file(path)
    spacing = (1.0, 1.0, 1.0)
    if source is None:
        log.warning("%s: no spacing file beside it; 1 x 1 x 1 mm is taken, as in nnU-Net", path)
    else:
        spacing = _spacing(source, read_json(source))
    return Geometry(shape_zyx=(shape[0], shape[1], shape[2]), spacing_zyx_mm=spacing)


def _spacing(source: Path, content: Any) -> tuple[float, float, float]:
    entry = content.get("spacing") if isinstance(content, dict) else None
    numbers = entry if isinstance(entry, list) else []
    is_positive = all(isinstance(n, int | float) and 0 < n < np.inf for n in numbers)
    if len(numbers) != 3 or not is_positive:
        raise DataError(
            str(source),
            found=f"spacing {entry!r}",
            expected="three positive numbers, z, y, x in millimetres",
            remedy="Correct the entry.",
        )
    return float(numbers[0]), float(numbers[1]), float(numbers[2])
