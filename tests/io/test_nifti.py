"""F73, B13: NIfTI files read and written without ITK are what ITK reads and writes."""

import gzip
import itertools
import struct

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st

from segduet.core.errors import DataError
from segduet.core.geometry import Geometry
from segduet.io import nifti
from segduet.io.itk import read_scan
from segduet.io.nifti import read_nifti, write_nifti

SHAPE = (3, 4, 5)
#: Axes that are permuted and flipped, left-handed ones included, then turned a little.
TURNED = st.tuples(
    st.permutations([0, 1, 2]),
    st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3),
    st.floats(0, 3),
    st.floats(-3, 3),
)


def direction_of(turned):
    order, signs, angle, other = turned
    c, s, d, t = np.cos(angle), np.sin(angle), np.cos(other), np.sin(other)
    about_z = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, d, -t], [0, t, d]])
    return (np.eye(3)[list(order)] * signs) @ about_z @ about_x


def voxels(dtype=np.int16, shape=SHAPE):
    return np.random.default_rng(0).integers(0, 100, shape).astype(dtype)


def write_by_itk(path, array, spacing=(0.7, 0.8, 2.5), origin=(3.0, -4.5, 99.0), direction=None):
    image = SimpleITK.GetImageFromArray(array)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    if direction is not None:
        image.SetDirection(direction.ravel().tolist())
    SimpleITK.WriteImage(image, str(path))
    return path


def geometry_by_itk(path):
    image = SimpleITK.ReadImage(str(path))
    return Geometry(
        shape_zyx=image.GetSize()[::-1],
        spacing_zyx_mm=image.GetSpacing()[::-1],
        origin_xyz_mm=image.GetOrigin(),
        direction_xyz=image.GetDirection(),
    )


@settings(max_examples=15, deadline=None)
@given(TURNED, st.tuples(*[st.floats(0.1, 9)] * 3), st.tuples(*[st.floats(-500, 500)] * 3))
def test_the_grid_is_itks_to_the_last_bit(tmp_path_factory, turned, spacing, origin):
    path = tmp_path_factory.mktemp("grid") / "a.nii.gz"
    write_by_itk(path, voxels(), spacing, origin, direction_of(turned))
    read = read_nifti(path)
    assert read is not None
    np.testing.assert_array_equal(read[0], voxels())
    assert read[1] == geometry_by_itk(path)


@pytest.mark.parametrize("affine", [np.diag([-0.7, -0.7, 2.5, 1]), np.diag([1.5, 2, 3, 1])])
def test_what_nibabel_writes_is_read_as_by_itk(tmp_path, affine):
    """It leaves one of the two sets of axes out."""
    nib.save(nib.Nifti1Image(voxels().T, affine), tmp_path / "a.nii")
    read = read_nifti(tmp_path / "a.nii")
    assert read is not None
    assert read[1] == geometry_by_itk(tmp_path / "a.nii")
    np.testing.assert_array_equal(read[0], voxels())


@settings(max_examples=15, deadline=None)
@given(TURNED, st.tuples(*[st.floats(0.1, 9)] * 3), st.sampled_from([np.uint8, np.float32]))
def test_what_is_written_is_read_by_itk_and_nibabel(tmp_path_factory, turned, spacing, dtype):
    path = tmp_path_factory.mktemp("written") / "a.nii"
    direction = direction_of(turned)
    geometry = Geometry(
        shape_zyx=SHAPE,
        spacing_zyx_mm=spacing[::-1],
        origin_xyz_mm=(3.0, -4.5, 99.0),
        direction_xyz=tuple(direction.ravel()),
    )
    assert write_nifti(path, voxels(dtype), geometry)
    assert geometry_by_itk(path).differences(geometry) == []
    image = nib.load(path)
    np.testing.assert_array_equal(np.asarray(image.dataobj).T, voxels(dtype))
    assert image.get_data_dtype() == dtype
    # both sets of axes are there and agree
    np.testing.assert_allclose(image.get_qform(), image.get_sform(), atol=1e-4)


@pytest.mark.parametrize("part", [7, 30, 2**22])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_parts_packed_side_by_side_are_one_gzip_member(tmp_path, monkeypatch, part, dtype):
    monkeypatch.setattr(nifti, "_PART", part)
    geometry = Geometry(shape_zyx=SHAPE, spacing_zyx_mm=(1.0, 1.0, 1.0))
    assert write_nifti(tmp_path / "a.nii.gz", voxels(dtype), geometry)
    assert write_nifti(tmp_path / "a.nii", voxels(dtype), geometry)
    packed = (tmp_path / "a.nii.gz").read_bytes()
    plain = (tmp_path / "a.nii").read_bytes()
    assert gzip.decompress(packed) == plain
    assert int.from_bytes(packed[-4:], "little") == len(plain)
    np.testing.assert_array_equal(
        SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(tmp_path / "a.nii.gz"))), voxels(dtype)
    )


def changed(content, offset, form, *values):
    return content[:offset] + struct.pack(form, *values) + content[offset + struct.calcsize(form) :]


UNUSUAL = {
    "metres": lambda c: changed(c, 123, "B", 1),
    "a quaternion of its own": lambda c: changed(changed(c, 254, "<h", 2), 256, "<f", 0.3),
    "no matrix": lambda c: changed(c, 254, "<h", 0),
    "longer axes than voxels": lambda c: changed(c, 80, "<f", 0.9),
    "another format": lambda c: changed(c, 344, "4s", b"ni1"),
    "values before the end of the header": lambda c: changed(c, 108, "<f", 0.0),
}


@pytest.mark.parametrize("what", UNUSUAL)
def test_unusual_headers_are_left_to_itk(tmp_path, what):
    path = write_by_itk(tmp_path / "a.nii", voxels())
    path.write_bytes(UNUSUAL[what](path.read_bytes()))
    assert read_nifti(path) is None


def test_the_other_byte_order_is_read_all_the_same(tmp_path):
    header = nib.Nifti1Header(endianness=">")
    nib.save(
        nib.Nifti1Image(voxels().T, np.diag([-1.0, -1.5, 2.0, 1.0]), header), tmp_path / "a.nii"
    )
    assert read_nifti(tmp_path / "a.nii") is None
    array, geometry = read_scan(tmp_path / "a.nii")
    np.testing.assert_array_equal(array, voxels())
    assert geometry.spacing_zyx_mm == (2.0, 1.5, 1.0)


@pytest.mark.parametrize("num_zeros", [0, 9, 1500])
@pytest.mark.parametrize("piece", [2**16, 400])
def test_several_gzip_members_are_one_file(tmp_path, monkeypatch, piece, num_zeros):
    """As bgzip writes them, with padding behind; members and pieces end where they like."""
    monkeypatch.setattr(nifti, "_PIECE", piece)
    plain = write_by_itk(tmp_path / "a.nii", voxels(shape=(9, 16, 16))).read_bytes()
    ends = [0, 1000, 1700, len(plain)]
    members = [gzip.compress(plain[a:b]) for a, b in itertools.pairwise(ends)]
    (tmp_path / "a.nii.gz").write_bytes(b"".join(members) + b"\0" * num_zeros)
    read = read_nifti(tmp_path / "a.nii.gz")
    assert read is not None
    np.testing.assert_array_equal(read[0], voxels(shape=(9, 16, 16)))


@pytest.mark.parametrize(
    ("ending", "damage"),
    [*itertools.product([".nii", ".nii.gz"], ["cut", "huge"]), (".nii.gz", "checksum")],
)
def test_damage_is_refused_and_takes_no_memory(tmp_path, ending, damage):
    path = write_by_itk(tmp_path / "a.nii", voxels())
    content = path.read_bytes()
    if damage == "cut":
        content = content[:-1]
    if damage == "huge":  # 2^45 bytes
        content = changed(content, 42, "<3h", *[32767] * 3)
    packed = gzip.compress(content)
    if damage == "checksum":
        packed = changed(packed, len(packed) - 8, "<I", 7)
    path = tmp_path / f"b{ending}"
    path.write_bytes(packed if ending == ".nii.gz" else content)
    with pytest.raises(DataError, match="damaged, cut short or of another kind"):
        read_scan(path)


def test_grids_and_types_that_are_left_to_itk(tmp_path):
    flat = Geometry(shape_zyx=(1, 4, 5), spacing_zyx_mm=(9.0, 1.0, 1.0), num_spatial_dims=2)
    skewed = (1.0, 0.01, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
    bent = Geometry(shape_zyx=SHAPE, spacing_zyx_mm=(1.0, 1.0, 1.0), direction_xyz=skewed)
    straight = Geometry(shape_zyx=SHAPE, spacing_zyx_mm=(1.0, 1.0, 1.0))
    assert not write_nifti(tmp_path / "a.nii", voxels(shape=(1, 4, 5)), flat)
    assert not write_nifti(tmp_path / "a.nii", voxels(), bent)
    assert not write_nifti(tmp_path / "a.nii", voxels(np.float16), straight)
    assert list(tmp_path.iterdir()) == []
