"""The header of a NIfTI-1 file by nibabel, and the grid that ITK reads from it.

Only what the usual files have: one little-endian file with three axes, millimetres, and a matrix
that is nothing but directions times spacings. Which of the header's two sets of axes counts is
ITK's rule (itkNiftiImageIO.cxx, ITK 5.4).
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from segduet.core.geometry import Geometry

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Header

#: Where voxels begin: after the header and four bytes that say that nothing lies between.
VOXELS_BEGIN = 352
_HEADER_BYTES = 348
_DTYPES = tuple(map(np.dtype, ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8")))
_LARGEST_AXIS = 2**15 - 1
#: Bits of the units that concern space; 0 says nothing, which ITK takes for millimetres.
_SPATIAL_UNITS, _MILLIMETRES = 0b111, 2
#: Vectors and matrices in every voxel.
_INTENTS_OF_SEVERAL_VALUES = (1004, 1005, 1007)
_SCANNER = 1
#: From RAS, as NIfTI has it, to LPS, as ITK has it.
_TO_LPS = (-1.0, -1.0, 1.0)

#: ITK accepts axes up to 1e-4 from orthonormal, and warns where they are 1e-3 mm longer or shorter
#: than the voxels; half of both is left to it to judge.
_ORTHONORMAL_TOLERANCE = 5e-5
_SPACING_TOLERANCE_MM = 5e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class NiftiHeader:
    """What a header of the usual kind says.

    Attributes:
        geometry: as ITK reads it.
        dtype: of the stored values.
        offset: of the first value in the file.
        slope: what a stored value is multiplied with.
        intercept: what is added then.
    """

    geometry: Geometry
    dtype: np.dtype
    offset: int
    slope: float
    intercept: float

    @classmethod
    def parse(cls, content: bytes) -> Self | None:
        """Reads a header from the first bytes of a file; None where ITK should read the file."""
        from nibabel.nifti1 import Nifti1Header

        if len(content) < VOXELS_BEGIN:
            return None
        parsed = Nifti1Header(content[:_HEADER_BYTES], endianness="<", check=False)
        header = parsed.structarr
        slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
        if slope == 0 or not math.isfinite(slope):
            slope, intercept = 1.0, 0.0  # the header's way to say: not scaled
        if not (_is_usual(header) and math.isfinite(intercept)):
            return None
        dtype = _dtype(parsed)
        if dtype is None:
            return None
        return cls(
            geometry=_geometry(header),
            dtype=dtype,
            offset=int(header["vox_offset"]),
            slope=slope,
            intercept=intercept,
        )

    def scaled(self, stored: np.ndarray) -> np.ndarray:
        """Values from stored numbers by ITK's rule: scale in double precision, keep single."""
        if (self.slope, self.intercept) == (1.0, 0.0):
            return stored
        return (stored.astype(np.float64) * self.slope + self.intercept).astype(np.float32)


def written_header(array: np.ndarray, geometry: Geometry) -> bytes | None:
    """What stands before the voxels, with axes as of a scanner.

    Args:
        array: (Z, Y, X).
        geometry: its grid.

    Returns:
        All bytes up to the first voxel; None for a grid or type that is left to ITK.
    """
    from nibabel.nifti1 import Nifti1Header

    directions = np.reshape(geometry.direction_xyz, (3, 3))
    is_usual = array.dtype in _DTYPES and max(array.shape) <= _LARGEST_AXIS
    if not (is_usual and geometry.num_spatial_dims == 3 and _are_orthonormal(directions)):
        return None
    affine = np.eye(4)
    affine[:3, :3] = directions * geometry.spacing_zyx_mm[::-1]
    affine[:3, 3] = geometry.origin_xyz_mm
    affine[:3] *= np.array(_TO_LPS)[:, None]
    header = Nifti1Header(endianness="<")
    header.set_data_dtype(array.dtype)
    header.set_data_shape(array.shape[::-1])
    header.set_xyzt_units("mm", "sec")
    header.set_qform(affine, code=_SCANNER)
    header.set_sform(affine, code=_SCANNER)
    header.set_slope_inter(1, 0)
    header.set_data_offset(VOXELS_BEGIN)
    return bytes(header.binaryblock).ljust(VOXELS_BEGIN, b"\0")


def _dtype(header: "Nifti1Header") -> np.dtype | None:
    """Of the values, where it is one of the usual."""
    from nibabel.spatialimages import HeaderDataError

    try:
        dtype: np.dtype = header.get_data_dtype()
    except HeaderDataError:
        return None
    return dtype if dtype in _DTYPES else None


def _is_usual(header: np.ndarray) -> bool:
    """Whether nothing in a header needs ITK's judgement."""
    num_axes = int(header["dim"][0])
    offset = float(header["vox_offset"])
    return (
        (int(header["sizeof_hdr"]), header["magic"].item()) == (_HEADER_BYTES, b"n+1")
        and 3 <= num_axes <= 7
        and bool((header["dim"][1:4] > 0).all() and (header["dim"][4 : num_axes + 1] == 1).all())
        and int(header["intent_code"]) not in _INTENTS_OF_SEVERAL_VALUES
        and int(header["xyzt_units"]) & _SPATIAL_UNITS in (0, _MILLIMETRES)
        and offset >= VOXELS_BEGIN
        and offset.is_integer()
        and _has_plain_axes(header)
    )


def _has_plain_axes(header: np.ndarray) -> bool:
    """Whether the affine matrix counts, and is nothing but directions times spacings."""
    quaternion_code, affine_code = int(header["qform_code"]), int(header["sform_code"])
    counts = affine_code == _SCANNER or (affine_code > 0 and quaternion_code <= 0)
    affine, spacing = _affine(header), header["pixdim"][1:4].astype(float)
    if not (counts and np.isfinite(affine).all() and np.isfinite(spacing).all()):
        return False
    lengths = np.linalg.norm(affine[:, :3], axis=0)
    if spacing.min() <= 0 or np.abs(lengths - spacing).max() > _SPACING_TOLERANCE_MM:
        return False
    return _are_orthonormal(affine[:, :3] / np.where(lengths > 0, lengths, 1))


def _are_orthonormal(directions: np.ndarray) -> bool:
    return bool(np.abs(directions @ directions.T - np.eye(3)).max() < _ORTHONORMAL_TOLERANCE)


def _affine(header: np.ndarray) -> np.ndarray:
    """(3, 4) float64, to RAS millimetres."""
    return np.stack([header[f"srow_{axis}"] for axis in "xyz"]).astype(float)


def _geometry(header: np.ndarray) -> Geometry:
    x, y, z = (int(n) for n in header["dim"][1:4])
    sx, sy, sz = (float(n) for n in header["pixdim"][1:4])
    rows = (_affine(header) * np.array(_TO_LPS)[:, None]).tolist()
    # numpy would add up the squares in another order than ITK
    lengths = [math.sqrt(sum(row[axis] * row[axis] for row in rows)) for axis in range(3)]
    return Geometry(
        shape_zyx=(z, y, x),
        spacing_zyx_mm=(sz, sy, sx),
        origin_xyz_mm=(rows[0][3], rows[1][3], rows[2][3]),
        direction_xyz=tuple(row[axis] / lengths[axis] for row in rows for axis in range(3)),
    )
