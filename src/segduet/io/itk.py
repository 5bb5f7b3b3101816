"""Scan formats (NIfTI, NRRD, MHA): pixel values as ITK reads them, and the grid they lie on.

Axis order is zyx. NIfTI files of the usual kind are read and written by `nifti.py`, without the
imports that everything else takes. ITK fills up a NIfTI file that was cut short without a word, so
the pixels of other NIfTI files are read with nibabel, which notices, and scaled the way ITK does.
"""

import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from segduet.core.errors import DataError
from segduet.core.geometry import Geometry
from segduet.io.failures import unreadable
from segduet.io.nifti import NIFTI_ENDINGS, read_nifti, write_nifti

if TYPE_CHECKING:
    import nibabel as nib
    import SimpleITK

ITK_ENDINGS = (*NIFTI_ENDINGS, ".nrrd", ".mha")

#: Header (348) and the flag for extensions (4), of which ITK writes none.
_NIFTI_HEADER_BYTES = 352
_NIFTI2_HEADER_BYTES = 540

#: Direction cosines are stored as float32 or rounded text; a shear is far larger than this.
_ORTHONORMAL_TOLERANCE = 1e-2


def read_scan(path: Path) -> tuple[np.ndarray, Geometry]:
    """Reads one single-channel scan.

    Returns:
        (Z, Y, X) array of the stored dtype (float32 where the header scales the values), and the
        grid. A 2D file has Z = 1 and, as in nnU-Net, a slice 999 times thicker than its pixels.

    Raises:
        DataError: unreadable or cut short, several time points or components, no voxels, or axes
            that are not at right angles.
    """
    is_nifti = path.name.lower().endswith(NIFTI_ENDINGS)
    usual = _usual_nifti(path) if is_nifti else None
    if usual is not None:
        return usual
    reader = _open(path)
    geometry = _geometry(reader, path)
    array = _nifti_values(path) if is_nifti else _itk_values(reader, path)
    return array.reshape(geometry.shape_zyx), geometry


def write_scan(path: Path, array: np.ndarray, geometry: Geometry) -> None:
    """Writes a (Z, Y, X) array, compressed where the format can; not atomic.

    Raises:
        OSError: the file could not be written.
    """
    is_nifti = path.name.lower().endswith(NIFTI_ENDINGS)
    if is_nifti and write_nifti(path, array, geometry):
        return
    import SimpleITK

    dims = geometry.num_spatial_dims
    image = SimpleITK.GetImageFromArray(array if dims == 3 else array[0])
    image.SetSpacing(geometry.spacing_zyx_mm[::-1][:dims])
    image.SetOrigin(geometry.origin_xyz_mm[:dims])
    direction = np.reshape(geometry.direction_xyz, (3, 3))[:dims, :dims]
    image.SetDirection(direction.ravel().tolist())
    try:
        SimpleITK.WriteImage(image, str(path), True)
    except RuntimeError as error:
        raise OSError(str(error)) from error
    if is_nifti and not _is_whole_nifti(path, array.nbytes):
        # ITK says nothing where the disk is full
        raise OSError("the file was cut short")


def _is_whole_nifti(path: Path, num_bytes: int) -> bool:
    """Whether the file is as long as its pixels ask for; a gzip file says so in its last bytes."""
    size = path.stat().st_size
    if path.name.lower().endswith(".gz"):
        size = int.from_bytes(path.read_bytes()[-4:], "little")  # RFC 1952, modulo 2^32
    return size % 2**32 == (num_bytes + _NIFTI_HEADER_BYTES) % 2**32


def _usual_nifti(path: Path) -> tuple[np.ndarray, Geometry] | None:
    try:
        return read_nifti(path)
    except (OSError, EOFError, zlib.error) as error:
        raise unreadable(path, error) from error


def _open(path: Path) -> "SimpleITK.ImageFileReader":
    import SimpleITK

    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        if "orthonormal" in str(error):
            raise _skewed(path) from error
        raise unreadable(path, error) from error
    return reader


def _skewed(path: Path) -> DataError:
    return DataError(
        str(path),
        found="axes that are not at right angles (a non-orthonormal direction)",
        expected="three orthogonal axes, as ITK and nnU-Net require",
        remedy="Resample the scan onto a straight grid, or correct its header.",
    )


def _geometry(reader: "SimpleITK.ImageFileReader", path: Path) -> Geometry:
    dims, size = reader.GetDimension(), tuple(reader.GetSize())
    num_components = reader.GetNumberOfComponents()
    if dims not in (2, 3) or num_components != 1:
        raise DataError(
            str(path),
            found=f"{dims} axes of sizes {size} with {num_components} value(s) per voxel",
            expected="one 2D or 3D image with one value per voxel",
            remedy="Save every channel or time point as a file of its own.",
        )
    spacing = tuple(reader.GetSpacing())
    _check_grid(path, size, spacing, tuple(reader.GetOrigin()))
    direction = np.eye(3)
    direction[:dims, :dims] = np.reshape(reader.GetDirection(), (dims, dims))
    if not np.allclose(direction @ direction.T, np.eye(3), atol=_ORTHONORMAL_TOLERANCE):
        raise _skewed(path)
    # nnU-Net's convention for 2D scans: the slice is 999 times thicker than the larger pixel side
    spacing_xyz = spacing if dims == 3 else (*spacing, max(spacing) * 999)
    x, y, z = (*size, 1)[:3]
    return Geometry(
        shape_zyx=(z, y, x),
        spacing_zyx_mm=(spacing_xyz[2], spacing_xyz[1], spacing_xyz[0]),
        origin_xyz_mm=(*reader.GetOrigin(), 0.0)[:3],
        direction_xyz=tuple(float(v) for v in direction.ravel()),
        num_spatial_dims=dims,
    )


def _check_grid(
    path: Path, size: tuple[int, ...], spacing: tuple[float, ...], origin: tuple[float, ...]
) -> None:
    is_usable = min(size) > 0 and min(spacing) > 0 and np.isfinite([*spacing, *origin]).all()
    if not is_usable:
        raise DataError(
            str(path),
            found=f"a grid of {size} voxels with spacing {spacing} and origin {origin}",
            expected="at least one voxel along every axis, and finite, positive spacing",
            remedy="Correct the header, or leave the case out.",
        )


def _itk_values(reader: "SimpleITK.ImageFileReader", path: Path) -> np.ndarray:
    import SimpleITK

    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise unreadable(path, error) from error
    array: np.ndarray = SimpleITK.GetArrayFromImage(image)
    return array


def _nifti_values(path: Path) -> np.ndarray:
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError

    try:
        stored = _nifti(path).dataobj
        array: np.ndarray = stored.get_unscaled()
    except (OSError, EOFError, ValueError, zlib.error, ImageFileError, HeaderDataError) as error:
        raise unreadable(path, error) from error
    slope, intercept = float(stored.slope), float(stored.inter)
    if (slope, intercept) != (1.0, 0.0):
        # ITK's rule: scale in double precision, keep single
        array = (array.astype(np.float64) * slope + intercept).astype(np.float32)
    return array.T


def _nifti(path: Path) -> "nib.Nifti1Image":
    import nibabel as nib

    if not path.name.lower().endswith(".gz"):
        image: nib.Nifti1Image = nib.load(path, mmap=False)
        return image
    content = _unzipped(path.read_bytes())
    sizes = [int.from_bytes(content[:4], order) for order in ("little", "big")]
    kind = nib.Nifti2Image if _NIFTI2_HEADER_BYTES in sizes else nib.Nifti1Image
    return kind.from_bytes(content)


def _unzipped(content: bytes) -> bytes:
    """All members of a gzip file at once, checked; a quarter faster than through a file object.

    Raises:
        zlib.error: damaged.
        EOFError: cut short.
    """
    members = []
    while content:
        unzip = zlib.decompressobj(wbits=zlib.MAX_WBITS + 16)
        members.append(unzip.decompress(content))
        if not unzip.eof:
            raise EOFError("the compressed file was cut short")
        content = unzip.unused_data.lstrip(b"\0")
    return members[0] if len(members) == 1 else b"".join(members)
