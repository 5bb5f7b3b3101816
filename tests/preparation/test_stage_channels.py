"""F14: a label map of a cascade's first stage as input channels of its second."""

import numpy as np
import pytest
import torch

from segduet.core.errors import DataError
from segduet.core.geometry import Geometry
from segduet.core.labels import LabelScheme
from segduet.core.plan import ConfigurationPlan
from segduet.core.prepared import Placement, PreparedCase
from segduet.preparation.cascade import (
    decide_on_next_grid,
    foreground_values,
    num_input_channels,
    with_previous_stage,
)

PLAIN = LabelScheme.from_dataset_json(
    {"background": 0, "lesion": 2, "organ": 1, "ignore": 3}, None, where="test"
)
REGIONS = LabelScheme.from_dataset_json(
    {"background": 0, "whole": [1, 2, 3], "core": [2, 3]}, [1, 2], where="test"
)


def placed(prepared, native, spacing=(1.0, 1.0, 1.0)):
    return Placement(
        native=Geometry(shape_zyx=native, spacing_zyx_mm=spacing),
        transpose_forward=(0, 1, 2),
        transpose_backward=(0, 1, 2),
        crop_box=tuple((0, n) for n in native),
        prepared_shape=prepared,
    )


def configuration(spacing, **changes) -> ConfigurationPlan:
    how = {"order_z": 0, "force_separate_z": None}
    return ConfigurationPlan.model_validate(
        {
            "data_identifier": "c",
            "batch_size": 2,
            "patch_size": [8, 8, 8],
            "spacing": spacing,
            "median_image_size_in_voxels": [16, 16, 16],
            "normalization_schemes": ["ZScoreNormalization"],
            "use_mask_for_norm": [False],
            "resampling_fn_data_kwargs": {"is_seg": False, "order": 3, **how},
            "resampling_fn_probabilities_kwargs": {"is_seg": False, "order": 1, **how},
            "architecture": {"network_class_name": "x", "arch_kwargs": {}},
            "batch_dice": False,
            **changes,
        }
    )


def test_every_foreground_value_has_a_channel_of_zeros_and_ones():
    """By hand: values 1 and 2 in ascending order; background, ignore and outside are in none."""
    image = np.full((1, 1, 2, 3), 7, np.float32)
    case = PreparedCase(
        case="a", image=image, label_map=None, placement=placed((1, 2, 3), (1, 2, 3))
    )
    previous = np.array([[[0, 1, 2], [3, 2, -1]]], np.int16)
    fed = with_previous_stage(case, previous, PLAIN)
    assert fed.image.dtype == np.float32
    assert fed.image[:, 0].tolist() == [
        [[7, 7, 7], [7, 7, 7]],
        [[0, 1, 0], [0, 0, 0]],
        [[0, 0, 1], [0, 1, 0]],
    ]
    assert case.image.shape == (1, 1, 2, 3)


def test_channels_are_counted_as_nnunet_counts_them():
    """Values, not regions: 3 for two regions of three values; none without a stage before."""
    from nnunetv2.utilities.label_handling.label_handling import LabelManager

    second = configuration((1.0, 1.0, 1.0), previous_stage="3d_lowres")
    first = configuration((2.0, 2.0, 2.0), next_stage="3d_cascade_fullres")
    for labels, order in ((PLAIN, None), (REGIONS, [1, 2])):
        stock = LabelManager({k: v if len(v) > 1 else v[0] for k, v in labels.labels}, order)
        assert list(foreground_values(labels)) == stock.foreground_labels
    counts = [
        num_input_channels(c, num_image_channels=2, labels=labels)
        for c, labels in ((first, PLAIN), (second, PLAIN), (second, REGIONS))
    ]
    assert counts == [2, 4, 5]
    assert first.next_stages == ("3d_cascade_fullres",)
    assert configuration((2.0, 2.0, 2.0), next_stage=["a", "b"]).next_stages == (
        "a",
        "b",
    )
    assert second.next_stages == ()


@pytest.mark.parametrize("coarse", [(2.0, 1.6, 1.6), (5.0, 1.2, 1.2)])
@pytest.mark.parametrize("labels", [PLAIN, REGIONS])
def test_logits_reach_the_next_grid_as_in_nnunet(coarse, labels):
    """The same label map as nnU-Net's resampling of the same logits, then its decision."""
    from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape

    native = (12, 20, 20)
    shape = tuple(round(n / s) for n, s in zip(native, coarse, strict=True))
    logits = np.random.default_rng(0).normal(size=(labels.num_segmentation_heads, *shape))
    logits = logits.astype(np.float32)
    ours = decide_on_next_grid(
        logits,
        placement=placed(shape, native),
        configuration=configuration(coarse),
        next_configuration=configuration((1.0, 1.0, 1.0)),
        labels=labels,
    )
    stock = resample_data_or_seg_to_shape(
        torch.from_numpy(logits),
        native,
        np.array(coarse),
        np.array(coarse),
        is_seg=False,
        order=1,
        order_z=0,
        force_separate_z=None,
    )
    assert ours.dtype == np.int16
    np.testing.assert_array_equal(ours, labels.decode(np.asarray(stock)))
    assert len(np.unique(ours)) > 1


def test_a_first_stage_that_does_not_resample_must_have_the_grid_of_the_second():
    off = configuration((2.0, 2.0, 2.0), resampling_fn_probabilities="no_resampling_hack")
    logits = np.zeros((3, 4, 4, 4), np.float32)
    with pytest.raises(DataError, match=r"does not resample.*\(8, 8, 8\).*\(4, 4, 4\).*Plan again"):
        decide_on_next_grid(
            logits,
            placement=placed((4, 4, 4), (8, 8, 8)),
            configuration=off,
            next_configuration=configuration((1.0, 1.0, 1.0)),
            labels=PLAIN,
        )
