"""A case as the viewer in the page reads it: three small NIfTI files in base64, and their place.

The files hold the neighbourhood of the labels only; `offset` says where it begins in the whole
image, so that the viewer names the voxels of the file the user has.
"""

import base64
import gzip
from collections.abc import Mapping
from typing import Any

import nibabel as nib
import numpy as np

from segduet.core.geometry import Geometry
from segduet.core.labels import BACKGROUND, LabelScheme
from segduet.reporting.case_images import (
    CaseImages,
    neighbourhood,
    region_colour,
    slice_of_interest,
)

#: 48 MB of int16 before compression: what a browser tab still opens without a pause.
MAX_VOXELS = 24_000_000
_MARGIN_SHARE = 0.5
_MIN_MARGIN_MM = 20.0
_IGNORED_COLOUR = "#9aa3ad"
_SLICE_OF_2D_MM = 1.0
#: Header (348) and the flag for extensions (4), of which there are none.
_NIFTI_HEADER_BYTES = 352
#: Of grey values that are scaled; a flat image needs a slope above 0 too.
_SMALLEST_RANGE = 1e-6
_INT16 = np.iinfo(np.int16)

ViewerCase = Mapping[str, Any]


class TooManyVoxelsError(Exception):
    """The neighbourhood of the labels is too large for a page."""


def viewer_case(shown: CaseImages) -> ViewerCase:
    """What the viewer needs for one case, as plain types.

    Keys: `case`; `image`, `reference`, `prediction` (base64 of gzipped NIfTI-1); `window` (lowest
    and highest grey value to show); `offset` and `shape` of the cut (voxels, xyz); `to_mm` (voxel
    of the whole image -> RAS mm) and `to_voxel` (back), 3 x 4 each; `is_flat`, of a 2D image;
    `start` (voxel of the whole image, xyz) to show first.

    Raises:
        TooManyVoxelsError: more than `MAX_VOXELS` around the labels.
    """
    cut = _cut(shown)
    offset = [part.start for part in reversed(cut)]
    shape = [part.stop - part.start for part in reversed(cut)]
    if np.prod(shape) > MAX_VOXELS:
        size = " x ".join(str(n) for n in shape)
        raise TooManyVoxelsError(f"{size} voxels around the labels are too many for a page")
    to_mm = ras_affine(shown.geometry)
    image = shown.image[0][cut]
    values, slope, intercept = _scaled(image)
    cut_to_mm = to_mm.copy()
    cut_to_mm[:3, 3] += to_mm[:3, :3] @ offset
    return {
        "case": shown.case,
        "image": _nifti(values, cut_to_mm, slope=slope, intercept=intercept),
        "reference": _nifti(shown.reference[cut].astype(np.uint8), cut_to_mm),
        "prediction": _nifti(shown.prediction[cut].astype(np.uint8), cut_to_mm),
        "window": _window(image),
        "offset": offset,
        "shape": shape,
        "to_mm": to_mm[:3].tolist(),
        "to_voxel": np.linalg.inv(to_mm)[:3].tolist(),
        "is_flat": shown.geometry.num_spatial_dims == 2,
        "start": _start(shown),
    }


def viewer_labels(labels: LabelScheme) -> list[dict[str, Any]]:
    """Name and colour of every value a label map may hold: `{value, name, colour}`.

    A value of several nested regions is named after all of them, the smallest first, and has the
    smallest one's colour.
    """
    regions = list(labels.foreground.items())
    found = []
    for value in labels.values:
        members = [(len(m), n) for n, (_, m) in enumerate(regions) if value in m]
        numbers = [number for _, number in sorted(members)]
        name = " + ".join(regions[number][0] for number in numbers)
        if value == labels.ignore_value:
            name, colour = "ignore", _IGNORED_COLOUR
        else:
            colour = region_colour(numbers[0]) if numbers else "#000000"
        found.append({"value": value, "name": name or BACKGROUND, "colour": colour})
    return found


def ras_affine(geometry: Geometry) -> np.ndarray:
    """Voxel (x, y, z) -> millimetres right, anterior, superior, as NIfTI has it: (4, 4) float64.

    The one slice of a 2D image is given the thickness 1 instead of its 999.
    """
    z, y, x = geometry.spacing_zyx_mm
    if geometry.num_spatial_dims == 2:
        z = _SLICE_OF_2D_MM
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(geometry.direction_xyz, (3, 3)) @ np.diag([x, y, z])
    affine[:3, 3] = geometry.origin_xyz_mm
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine  # ITK counts left and posterior


def _cut(shown: CaseImages) -> tuple[slice, ...]:
    margins = tuple(_MIN_MARGIN_MM / spacing for spacing in shown.geometry.spacing_zyx_mm)
    return neighbourhood(shown.foreground, share=_MARGIN_SHARE, at_least=margins)


def _start(shown: CaseImages) -> list[int]:
    """A voxel of the slice of interest: of a difference, or else of the foreground."""
    z = slice_of_interest(shown.reference, shown.prediction)
    differing = shown.reference[z] != shown.prediction[z]
    marked = differing if differing.any() else shown.reference[z] > 0
    if not marked.any():
        return [n // 2 for n in reversed(shown.geometry.shape_zyx)]
    inside = np.argwhere(marked)
    y, x = inside[len(inside) // 2]  # one of them, so that the crosshair does not lie between
    return [int(x), int(y), z]


def _scaled(image: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Values as int16, slope and intercept: exact for whole numbers of its range."""
    low, high = float(image.min()), float(image.max())
    is_whole = np.issubdtype(image.dtype, np.integer) or not (image % 1).any()
    if is_whole and low >= _INT16.min and high <= _INT16.max:
        return image.astype(np.int16), 1.0, 0.0
    slope = max(high - low, _SMALLEST_RANGE) / (_INT16.max - _INT16.min)
    intercept = low - slope * _INT16.min
    return np.rint((image - intercept) / slope).astype(np.int16), slope, intercept


def _window(image: np.ndarray) -> list[float]:
    low, high = np.percentile(image, [0.5, 99.5])
    return [float(low), float(max(high, low + 1e-3))]


def _nifti(
    array: np.ndarray, to_mm: np.ndarray, *, slope: float = 1.0, intercept: float = 0.0
) -> str:
    """A gzipped single-file NIfTI-1 in base64; the array is (Z, Y, X)."""
    header = nib.Nifti1Header()
    header.set_data_dtype(array.dtype)
    header.set_data_shape(array.shape[::-1])
    header.set_sform(to_mm, code="scanner")
    header.set_qform(to_mm, code="scanner", strip_shears=True)
    header["scl_slope"], header["scl_inter"] = slope, intercept
    header["vox_offset"] = _NIFTI_HEADER_BYTES
    header["magic"] = b"n+1"
    # a (Z, Y, X) array in C order is NIfTI's (x, y, z) with x fastest
    content = header.binaryblock + bytes(4) + np.ascontiguousarray(array).tobytes()
    return base64.b64encode(gzip.compress(content, compresslevel=6, mtime=0)).decode("ascii")
