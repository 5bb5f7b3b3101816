"""Preparation equals nnunetv2's own preprocessor, and refuses what it cannot do (F08)."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segduet.core.errors import DataError
from segduet.core.geometry import Geometry
from segduet.core.plan import Plan
from segduet.core.volume import Volume
from segduet.io.images import read_image, read_label_map
from segduet.preparation.prepare import prepare_case

Z = "ZScoreNormalization"


def prepare(volume: Volume, label_map: np.ndarray | None, plan: Plan):
    return prepare_case(
        volume, label_map, case="toy", plan=plan, configuration=plan.configuration("c")
    )


def test_image_labels_and_crop_equal_nnunet(
    prepared_like: tuple[Plan, Volume, np.ndarray], nnunet_prepares: Callable[..., tuple[Any, ...]]
) -> None:
    """F08: image within 1e-4 (found: 2e-6), labels voxel for voxel."""
    plan, volume, label_map = prepared_like
    image, labels, properties, *_ = nnunet_prepares(volume, label_map, plan)
    prepared = prepare(volume, label_map, plan)
    assert prepared.image.dtype == np.float32
    np.testing.assert_allclose(prepared.image, image, rtol=0, atol=1e-5)
    assert prepared.label_map is not None
    np.testing.assert_array_equal(prepared.label_map, labels)
    placement = prepared.placement
    assert placement.crop_box == tuple(map(tuple, properties["bbox_used_for_cropping"]))
    assert placement.transposed_shape == tuple(properties["shape_before_cropping"])


def test_a_real_heart_equals_nnunet(
    shared_data: Callable[[str], Path],
    nnunet_prepares: Callable[..., tuple[Any, ...]],
    planned: Callable[..., Plan],
) -> None:
    """F08: anisotropic cine MR, 2 mm in plane and 10 mm slices to 5 mm."""
    folder = shared_data("acdc_small")
    volume = read_image([folder / "images" / "patient001_frame01.nii.gz"])
    mask = read_label_map(folder / "masks" / "patient001_frame01.nii.gz").array[0]
    plan = planned((5.0, 1.7, 1.7))
    image, labels, *_ = nnunet_prepares(volume, mask, plan)
    prepared = prepare(volume, mask, plan)
    np.testing.assert_allclose(prepared.image, image, rtol=0, atol=1e-4)
    assert prepared.label_map is not None
    np.testing.assert_array_equal(prepared.label_map, labels)
    assert set(np.unique(prepared.label_map)) == {0, 1, 2, 3}


def test_without_a_mask_the_image_is_the_same(
    planned: Callable[..., Plan], imaged: Callable[..., tuple[Volume, np.ndarray]]
) -> None:
    plan = planned((10.0, 2.0, 2.0), use_mask=True)
    volume, label_map = imaged((9, 36, 30), (7.0, 1.5, 1.5), border=1)
    alone = prepare(volume, None, plan)
    assert alone.label_map is None
    # the labels of this phantom lie inside the nonzero region, so its z-score is the same
    np.testing.assert_array_equal(alone.image, prepare(volume, label_map, plan).image)


def test_an_empty_image_stays_whole_and_finite(planned: Callable[..., Plan]) -> None:
    shape = (4, 6, 5)
    geometry = Geometry(shape_zyx=shape, spacing_zyx_mm=(1.0, 1.0, 1.0))
    volume = Volume(array=np.zeros((1, *shape), np.float32), geometry=geometry)
    prepared = prepare(volume, np.zeros(shape, np.int16), planned((1.0, 1.0, 1.0)))
    assert prepared.placement.crop_box == ((0, 4), (0, 6), (0, 5))
    assert not prepared.image.any()
    assert prepared.label_map is not None
    assert np.all(prepared.label_map == -1)


def test_one_thin_slice_is_kept(
    planned: Callable[..., Plan], imaged: Callable[..., tuple[Volume, np.ndarray]]
) -> None:
    """A 1 mm slice at a target of 5 mm would round to no slice at all."""
    volume, _ = imaged((1, 12, 12), (1.0, 1.0, 1.0))
    prepared = prepare(volume, None, planned((5.0, 1.0, 1.0)))
    assert prepared.placement.prepared_shape == (1, 12, 12)


def test_arguments_are_left_as_they_were(
    planned: Callable[..., Plan], imaged: Callable[..., tuple[Volume, np.ndarray]]
) -> None:
    plan = planned((2.0, 1.0, 1.0), schemes=("CTNormalization",))
    volume, label_map = imaged((13, 30, 28), (1.7, 0.8, 1.1), border=2)
    image, labels = volume.array.copy(), label_map.copy()
    prepare(volume, label_map, plan)
    np.testing.assert_array_equal(volume.array, image)
    np.testing.assert_array_equal(label_map, labels)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"resampling_fn_data": "resample_torch_fornnunet"}, "resample_torch_fornnunet"),
        ({"resampling_fn_seg_kwargs": {"order": 1, "order_z": 1}}, "order_z"),
        ({"normalization_schemes": ["MyNormalization"]}, "MyNormalization"),
    ],
)
def test_what_a_plan_asks_for_and_we_lack_is_named(
    change: dict[str, Any],
    message: str,
    planned: Callable[..., Plan],
    imaged: Callable[..., tuple[Volume, np.ndarray]],
) -> None:
    volume, label_map = imaged((6, 8, 8), (2.0, 1.0, 1.0))
    with pytest.raises(DataError, match=message):
        prepare(volume, label_map, planned((1.0, 1.0, 1.0), **change))


def test_a_plan_without_resampling_keeps_the_grid(
    planned: Callable[..., Plan], imaged: Callable[..., tuple[Volume, np.ndarray]]
) -> None:
    """nnU-Net's no_resampling planners."""
    names = ("data", "seg", "probabilities")
    off = {f"resampling_fn_{n}": "no_resampling_hack" for n in names}
    no_arguments: dict[str, Any] = {f"resampling_fn_{n}_kwargs": {} for n in names}
    volume, label_map = imaged((6, 8, 8), (2.0, 1.0, 1.0))
    prepared = prepare(volume, label_map, planned((1.0, 1.0, 1.0), **off, **no_arguments))
    assert prepared.placement.prepared_shape == (6, 8, 8)


def test_wrong_channels_masks_and_voxels_name_the_case(
    planned: Callable[..., Plan], imaged: Callable[..., tuple[Volume, np.ndarray]]
) -> None:
    volume, label_map = imaged((6, 8, 8), (2.0, 1.0, 1.0))
    plan = planned((1.0, 1.0, 1.0))
    with pytest.raises(DataError, match=r"'toy'.*1 image channels.*2"):
        prepare(volume, label_map, planned((1.0, 1.0, 1.0), schemes=(Z, Z)))
    with pytest.raises(DataError, match=r"'toy'.*mask of shape \(5, 8, 8\)"):
        prepare(volume, label_map[1:], plan)
    broken = volume.array.copy()
    broken[0, 3, 3, 3] = np.nan
    with pytest.raises(DataError, match=r"'toy'.*not finite"):
        prepare(Volume(array=broken, geometry=volume.geometry), label_map, plan)


def test_a_reader_that_turns_the_axes_is_refused(
    planned: Callable[..., Plan], imaged: Callable[..., tuple[Volume, np.ndarray]]
) -> None:
    volume, _ = imaged((6, 8, 8), (2.0, 1.0, 1.0))
    plan = planned((1.0, 1.0, 1.0))
    turned = plan.model_copy(update={"image_reader_writer": "NibabelIOWithReorient"})
    with pytest.raises(DataError, match="NibabelIOWithReorient"):
        prepare(volume, None, turned)
