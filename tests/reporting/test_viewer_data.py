import base64
import gzip

import nibabel as nib
import numpy as np
import pytest
import SimpleITK

from segduet.core.geometry import Geometry
from segduet.core.labels import LabelScheme
from segduet.reporting import viewer_data
from segduet.reporting.case_images import CaseImages
from segduet.reporting.viewer_data import (
    TooManyVoxelsError,
    ras_affine,
    viewer_case,
    viewer_labels,
)

SHAPE = (30, 40, 50)
#: A turned, mirrored grid, as a scanner may write it.
TURNED = Geometry(
    shape_zyx=SHAPE,
    spacing_zyx_mm=(3.0, 1.5, 1.0),
    origin_xyz_mm=(-30.0, 11.0, 40.0),
    direction_xyz=(0, 1, 0, 0.8, 0, 0.6, 0.6, 0, -0.8),
)


def case(image: np.ndarray, geometry: Geometry = TURNED) -> CaseImages:
    """Reference: a box of 4 x 4 x 4 voxels; the prediction misses one slice of it."""
    reference = np.zeros(geometry.shape_zyx, np.uint8)
    reference[13:17, 18:22, 23:27] = 1
    prediction = reference.copy()
    prediction[15] = 0
    return CaseImages(
        case="c", image=image[None], reference=reference, prediction=prediction, geometry=geometry
    )


def loaded(text: str) -> nib.Nifti1Image:
    return nib.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(text)))


@pytest.fixture
def values() -> np.ndarray:
    return np.arange(np.prod(SHAPE)).reshape(SHAPE) % 3000 - 1000


def test_volumes_keep_values_and_places(values, tmp_path):
    """B18: a voxel of the cut has the same value and millimetres as in a file ITK would write."""
    whole = SimpleITK.GetImageFromArray(values.astype(np.int16))
    whole.SetSpacing(TURNED.spacing_zyx_mm[::-1])
    whole.SetOrigin(TURNED.origin_xyz_mm)
    whole.SetDirection(TURNED.direction_xyz)
    SimpleITK.WriteImage(whole, str(tmp_path / "whole.nii.gz"))
    content = viewer_case(case(values))
    cut, original = loaded(content["image"]), nib.load(tmp_path / "whole.nii.gz")
    offset = np.array(content["offset"])
    for index in np.ndindex(2, 2, 2):
        inside = np.array(index) * 5
        assert cut.dataobj[tuple(inside)] == original.dataobj[tuple(inside + offset)]
        np.testing.assert_allclose(
            cut.affine @ [*inside, 1], original.affine @ [*(inside + offset), 1], atol=1e-4
        )
        np.testing.assert_allclose(
            np.array(content["to_mm"]) @ [*(inside + offset), 1],
            (original.affine @ [*(inside + offset), 1])[:3],
            atol=1e-4,
        )
    assert cut.shape == tuple(content["shape"])
    assert cut.get_data_dtype() == np.int16


def test_cut_is_the_labels_with_twenty_millimetres(values):
    """20 mm are 20, 14 (rounded up) and 7 voxels along x, y and z."""
    content = viewer_case(case(values))
    assert content["offset"] == [3, 4, 6]
    assert content["shape"] == [44, 32, 18]
    reference = np.asarray(loaded(content["reference"]).dataobj)
    assert reference.sum() == 64
    assert np.asarray(loaded(content["prediction"]).dataobj).sum() == 48
    assert reference[20, 14, 7] == 1
    assert content["start"][2] == 15  # where the two differ


def test_voxels_and_millimetres_are_each_others_inverse(values):
    content = viewer_case(case(values))
    back, there = (np.vstack([content[k], [0, 0, 0, 1]]) for k in ("to_voxel", "to_mm"))
    np.testing.assert_allclose(back @ there, np.eye(4), atol=1e-9)


def test_fractions_are_scaled_into_sixteen_bits():
    """Within half a step of 1/65535 of the range; NIfTI's slope gives the values back."""
    values = np.random.default_rng(0).random(SHAPE) * 4 - 2
    content = viewer_case(case(values))
    x, y, z = content["offset"]
    kept = loaded(content["image"]).get_fdata()
    assert loaded(content["image"]).get_data_dtype() == np.int16
    original = values[z : z + 18, y : y + 32, x : x + 44].T
    assert np.abs(kept - original).max() <= 4 / 65535


def test_a_flat_image_stays_flat():
    kept = loaded(viewer_case(case(np.full(SHAPE, 0.25)))["image"]).get_fdata()
    np.testing.assert_allclose(kept, 0.25, atol=1e-6)


def test_2d_images_are_one_slice_of_pixels():
    flat = Geometry(shape_zyx=(1, 40, 50), spacing_zyx_mm=(999, 1, 1), num_spatial_dims=2)
    label_map = np.zeros((1, 40, 50), np.uint8)
    label_map[0, 20, 20] = 1
    content = viewer_case(
        CaseImages(
            case="c",
            image=np.zeros((3, 1, 40, 50)),
            reference=label_map,
            prediction=label_map,
            geometry=flat,
        )
    )
    assert content["is_flat"]
    assert content["shape"][2] == 1
    assert ras_affine(flat)[2, 2] == 1.0
    assert content["start"] == [20, 20, 0]


def test_too_many_voxels_are_refused(values, monkeypatch):
    monkeypatch.setattr(viewer_data, "MAX_VOXELS", 1000)
    with pytest.raises(TooManyVoxelsError, match="44 x 32 x 18 voxels"):
        viewer_case(case(values))


def test_values_are_named_after_all_their_regions():
    labels = LabelScheme(
        labels=(("background", (0,)), ("organ", (1, 2)), ("lesion", (2,)), ("ignore", (3,))),
        regions_class_order=(1, 2),
    )
    named = [(label["value"], label["name"]) for label in viewer_labels(labels)]
    assert named == [(0, "background"), (1, "organ"), (2, "lesion + organ"), (3, "ignore")]
    colours = [label["colour"] for label in viewer_labels(labels)]
    assert len(set(colours)) == 4
