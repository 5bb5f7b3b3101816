"""Reading images and label maps, writing label maps; nnU-Net's own readers are the reference."""

import json
import logging
import struct

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
import tifffile
from PIL import Image

from segduet.core.errors import DataError, RequestError, StorageError
from segduet.core.geometry import SPACING_2D_ZYX_MM, Geometry
from segduet.io.images import read_image, read_label_map, write_label_map

SHAPE = (4, 5, 6)


def oblique_direction():
    angle = np.deg2rad(20)
    c, s = np.cos(angle), np.sin(angle)
    return (c, -s, 0.0, s, c, 0.0, 0.0, 0.0, 1.0)


def write_scan(path, array, *, spacing=(0.7, 0.8, 3.0), origin=(-12.5, 30.0, 7.0), oblique=True):
    image = SimpleITK.GetImageFromArray(array)
    image.SetSpacing(spacing[: array.ndim])
    image.SetOrigin(origin[: array.ndim])
    if oblique and array.ndim == 3:
        image.SetDirection(oblique_direction())
    SimpleITK.WriteImage(image, str(path))
    return path


def scaled_nifti(path, stored, slope, intercept=0.0):
    """A NIfTI file with these stored numbers and this scaling in its header."""
    image = nib.Nifti1Image(stored, np.diag([1.0, 1.5, 2.0, 1.0]))
    nib.save(image, path)
    raw = bytearray(path.read_bytes())
    # integers are saved as they are; bytes 112-119 hold scl_slope and scl_inter
    raw[112:120] = struct.pack("<ff", slope, intercept)
    path.write_bytes(raw)
    return path


def noise(shape=SHAPE, dtype=np.int16, seed=0):
    return np.random.default_rng(seed).integers(-500, 500, shape).astype(dtype)


# --- the same as nnU-Net -------------------------------------------------------------------------


def assert_as_nnunet(reader_name, module, paths):
    reader = pytest.importorskip(f"nnunetv2.imageio.{module}")
    expected, properties = getattr(reader, reader_name)().read_images([str(p) for p in paths])
    volume = read_image(paths)
    assert volume.array.dtype == np.float32
    np.testing.assert_array_equal(volume.array, expected)
    np.testing.assert_array_equal(volume.geometry.spacing_zyx_mm, properties["spacing"])


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.float32, np.float64, np.int32])
def test_scans_read_as_nnunets_simpleitk_reader(tmp_path, ending, dtype):
    paths = [
        write_scan(tmp_path / f"a_000{c}{ending}", np.abs(noise(seed=c)).astype(dtype))
        for c in (0, 1)
    ]
    assert_as_nnunet("SimpleITKIO", "simpleitk_reader_writer", paths)


@pytest.mark.parametrize(
    ("dtype", "slope", "intercept"),
    [(np.uint16, 2 / 65535, 0.0), (np.int16, 0.37, -11.0), (np.int32, 1.1, 3.0), (np.uint8, 0, 0)],
)
def test_scaled_nifti_reads_as_nnunets_simpleitk_reader(tmp_path, dtype, slope, intercept):
    path = scaled_nifti(tmp_path / "a_0000.nii", np.abs(noise(dtype=dtype)), slope, intercept)
    assert_as_nnunet("SimpleITKIO", "simpleitk_reader_writer", [path])


def test_uncompressed_nifti_reads_as_nnunets_nibabel_reader(tmp_path):
    path = write_scan(tmp_path / "a_0000.nii", noise())
    assert_as_nnunet("NibabelIO", "nibabel_reader_writer", [path])


@pytest.mark.parametrize("ending", [".mha", ".nrrd", ".nii.gz"])
def test_flat_scan_has_one_very_thick_slice_as_in_nnunet(tmp_path, ending):
    path = write_scan(tmp_path / f"a_0000{ending}", noise((5, 6)), spacing=(0.5, 0.25))
    assert_as_nnunet("SimpleITKIO", "simpleitk_reader_writer", [path])
    geometry = read_image([path]).geometry
    assert geometry.num_spatial_dims == 2
    assert geometry.spacing_zyx_mm == (499.5, 0.25, 0.5)


def picture(mode, size=(6, 5)):
    grey = np.arange(size[0] * size[1], dtype=np.uint8).reshape(size[1], size[0]) * 7
    if mode == "I;16":
        return Image.fromarray(grey.astype(np.uint16) * 200)
    return Image.fromarray(grey).convert("RGB").convert(mode)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1", "I;16"])
def test_png_reads_as_nnunets_natural_image_reader(tmp_path, mode):
    path = tmp_path / "a_0000.png"
    picture(mode).save(path)
    assert_as_nnunet("NaturalImage2DIO", "natural_image_reader_writer", [path])
    geometry = read_image([path]).geometry
    assert (geometry.num_spatial_dims, geometry.spacing_zyx_mm) == (2, SPACING_2D_ZYX_MM)


@pytest.mark.parametrize("shape", [(5, 6), (5, 6, 3), (3, 5, 6)])
def test_flat_tiff_reads_as_nnunets_natural_image_reader(tmp_path, shape):
    path = tmp_path / "a_0000.tif"
    tifffile.imwrite(path, noise(shape, np.float32), photometric="minisblack")
    assert_as_nnunet("NaturalImage2DIO", "natural_image_reader_writer", [path])


def test_rgb_picture_has_three_channels_in_order(tmp_path):
    colours = np.zeros((5, 6, 3), np.uint8)
    colours[..., 1] = 20
    colours[..., 2] = 30
    Image.fromarray(colours).save(tmp_path / "a_0000.bmp")
    array = read_image([tmp_path / "a_0000.bmp"]).array
    assert array.shape == (3, 1, 5, 6)
    assert [float(channel.max()) for channel in array] == [0.0, 20.0, 30.0]


@pytest.mark.parametrize("has_sidecar", [True, False])
def test_tiff_volume_takes_spacing_from_its_sidecar_as_nnunet_does(tmp_path, has_sidecar, caplog):
    path = tmp_path / "a_0000.tif"
    tifffile.imwrite(path, noise((7, 5, 6)), photometric="minisblack")
    if has_sidecar:
        (tmp_path / "a.json").write_text(json.dumps({"spacing": [3.0, 0.5, 0.25]}))
    with caplog.at_level(logging.WARNING):
        assert_as_nnunet("Tiff3DIO", "tif_reader_writer", [path])
    assert ("no spacing file" in caplog.text) is not has_sidecar
    assert read_image([path]).geometry.num_spatial_dims == 3


def test_spacing_file_with_two_numbers_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a_0000.tif", noise((7, 5, 6)), photometric="minisblack")
    (tmp_path / "a.json").write_text(json.dumps({"spacing": [3.0, 0.5]}))
    with pytest.raises(DataError, match="three positive numbers"):
        read_image([tmp_path / "a_0000.tif"])


# --- bad input -----------------------------------------------------------------------------------


def test_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"a_0000\.nii\.gz: found no such file"):
        read_image([tmp_path / "a_0000.nii.gz"])


def test_file_of_no_bytes_is_called_empty(tmp_path):
    (tmp_path / "a_0000.png").touch()
    with pytest.raises(DataError, match=r"a_0000\.png: found an empty file"):
        read_image([tmp_path / "a_0000.png"])


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".mha", ".png", ".bmp", ".tif"])
@pytest.mark.parametrize("damage", ["cut short", "of another kind"])
def test_damaged_file_is_refused_by_name(tmp_path, ending, damage):
    """ITK alone would fill up a NIfTI file that was cut short and say nothing."""
    path = tmp_path / f"a_0000{ending}"
    if ending in (".png", ".bmp"):
        Image.fromarray(noise((64, 64), np.uint8)).save(path)
    elif ending == ".tif":
        tifffile.imwrite(path, noise((64, 64), np.uint8))
    else:
        write_scan(path, noise((8, 32, 32)))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3] if damage == "cut short" else b"no image" * 9)
    with pytest.raises(
        DataError, match="cannot be read: damaged, cut short or of another kind"
    ) as e:
        read_image([path])
    assert str(path) in str(e.value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_values_that_are_not_finite_in_float32_are_refused(tmp_path, value):
    array = np.zeros(SHAPE)
    array[1, 2, 3] = value
    path = write_scan(tmp_path / "a_0000.nii.gz", array)
    with pytest.raises(DataError, match=r"found 1 voxel\(s\) that are NaN or infinite"):
        read_image([path])


def test_nan_in_a_mask_is_refused(tmp_path):
    path = write_scan(tmp_path / "a.nii.gz", np.full(SHAPE, np.nan, np.float32))
    with pytest.raises(DataError, match="120 voxel"):
        read_label_map(path)


def test_time_series_is_refused(tmp_path):
    nib.save(nib.Nifti1Image(np.zeros((6, 5, 4, 2), np.int16), np.eye(4)), tmp_path / "a_0000.nii")
    with pytest.raises(DataError, match=r"4 axes of sizes \(6, 5, 4, 2\)"):
        read_image([tmp_path / "a_0000.nii"])


def test_vector_image_is_refused(tmp_path):
    path = tmp_path / "a_0000.nrrd"
    vectors = SimpleITK.GetImageFromArray(np.zeros((4, 5, 6, 2), np.float32), isVector=True)
    SimpleITK.WriteImage(vectors, str(path))
    with pytest.raises(DataError, match=r"2 value\(s\) per voxel"):
        read_image([path])


@pytest.mark.parametrize("ending", [".nii", ".nrrd"])
def test_skewed_axes_are_refused(tmp_path, ending):
    path = tmp_path / f"a_0000{ending}"
    if ending == ".nii":
        affine = np.eye(4)
        affine[0, 1] = 0.4
        nib.save(nib.Nifti1Image(np.zeros((6, 5, 4), np.int16), affine), path)
    else:
        write_scan(path, noise())
        content = path.read_bytes()
        start = content.index(b"space directions: ")
        stop = content.index(b"\n", start)
        line = b"space directions: (0.7,0,0) (0.5,0.8,0) (0,0,3)"
        path.write_bytes(content[:start] + line + content[stop:])
    with pytest.raises(DataError, match="not at right angles"):
        read_image([path])


def test_scan_without_voxels_is_refused(tmp_path):
    path = write_scan(tmp_path / "a_0000.mha", noise(), oblique=False)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"DimSize = 6 5 4", b"DimSize = 6 5 0"))
    with pytest.raises(DataError, match=r"a_0000\.mha"):
        read_image([path])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"array": noise((4, 5, 7))}, "shape"),
        ({"spacing": (0.7, 0.8, 3.5)}, "spacing"),
        ({"origin": (-12.5, 30.0, 8.0)}, "origin"),
        ({"oblique": False}, "direction"),
    ],
)
def test_channels_on_different_grids_are_refused(tmp_path, change, named):
    first = write_scan(tmp_path / "a_0000.nii.gz", noise())
    second = write_scan(tmp_path / "a_0001.nii.gz", **{"array": noise(), **change})
    with pytest.raises(DataError, match=f"another {named} than in a_0000") as caught:
        read_image([first, second])
    assert caught.value.where == str(second)


def test_colour_mask_is_refused(tmp_path):
    picture("RGB").save(tmp_path / "a.png")
    with pytest.raises(DataError, match="3 colour channels"):
        read_label_map(tmp_path / "a.png")


def test_grey_with_alpha_is_refused(tmp_path):
    picture("LA").save(tmp_path / "a_0000.png")
    with pytest.raises(DataError, match="pixel mode 'LA'"):
        read_image([tmp_path / "a_0000.png"])


# --- label maps ----------------------------------------------------------------------------------


def test_scaled_mask_is_read_unrounded(tmp_path):
    """F04: the seeds' defect, 32768 * 2 / 65535 = 1.0000152587890625, reaches the repair."""
    path = scaled_nifti(tmp_path / "a.nii", np.full((6, 5, 4), 32768, np.uint16), 2 / 65535)
    values = read_label_map(path).array
    np.testing.assert_array_equal(np.unique(values), np.float32(1.0000152587890625))


def label_map(shape=SHAPE):
    return np.random.default_rng(1).integers(0, 3, shape).astype(np.uint8)


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".mha"])
@pytest.mark.parametrize("num_spatial_dims", [2, 3])
def test_written_scan_mask_reads_back_on_the_same_grid(tmp_path, ending, num_spatial_dims):
    shape = SHAPE if num_spatial_dims == 3 else (1, 5, 6)
    source = write_scan(tmp_path / "image_0000.nrrd", noise(shape[-num_spatial_dims:]))
    geometry = read_image([source]).geometry
    write_label_map(tmp_path / f"out{ending}", label_map(shape), geometry)
    back = read_label_map(tmp_path / f"out{ending}")
    assert back.geometry.differences(geometry) == []
    assert back.geometry.num_spatial_dims == num_spatial_dims
    assert back.array.dtype == np.uint8
    np.testing.assert_array_equal(back.array[0], label_map(shape))


@pytest.mark.parametrize("ending", [".png", ".bmp", ".tif", ".tiff"])
def test_written_picture_mask_reads_back(tmp_path, ending):
    geometry = Geometry(shape_zyx=(1, 5, 6), spacing_zyx_mm=SPACING_2D_ZYX_MM, num_spatial_dims=2)
    write_label_map(tmp_path / f"out{ending}", label_map((1, 5, 6)), geometry)
    back = read_label_map(tmp_path / f"out{ending}")
    assert back.geometry == geometry
    np.testing.assert_array_equal(back.array[0], label_map((1, 5, 6)))


def test_written_tiff_volume_reads_back_with_its_spacing(tmp_path):
    geometry = Geometry(shape_zyx=(7, 5, 6), spacing_zyx_mm=(3.0, 0.5, 0.25))
    write_label_map(tmp_path / "out.tif", label_map((7, 5, 6)), geometry)
    back = read_label_map(tmp_path / "out.tif")
    assert back.geometry == geometry
    np.testing.assert_array_equal(back.array[0], label_map((7, 5, 6)))


@pytest.mark.parametrize(
    ("ending", "grid", "named"),
    [
        (".png", {"shape_zyx": SHAPE, "spacing_zyx_mm": (1.0, 1.0, 1.0)}, "number of axes"),
        (
            ".tif",
            {"shape_zyx": SHAPE, "spacing_zyx_mm": (1.0, 1.0, 1.0), "origin_xyz_mm": (5.0, 0, 0)},
            "origin",
        ),
        (
            ".png",
            {"shape_zyx": (1, 5, 6), "spacing_zyx_mm": (499.5, 0.25, 0.5), "num_spatial_dims": 2},
            "spacing",
        ),
    ],
)
def test_grid_that_a_picture_cannot_hold_is_refused(tmp_path, ending, grid, named):
    geometry = Geometry(**grid)
    with pytest.raises(RequestError, match=f"a grid with its own {named}"):
        write_label_map(tmp_path / f"out{ending}", label_map(geometry.shape_zyx), geometry)
    assert list(tmp_path.iterdir()) == []


def test_failed_write_leaves_nothing_behind(tmp_path):
    (tmp_path / "file").touch()
    geometry = Geometry(shape_zyx=SHAPE, spacing_zyx_mm=(1.0, 1.0, 1.0))
    with pytest.raises(StorageError, match="the write failed"):
        write_label_map(tmp_path / "file" / "out.nii.gz", label_map(), geometry)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
