"""Logits come back to the user's grid as nnunetv2's own export brings them back."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from segduet.core.labels import LabelScheme
from segduet.core.plan import Plan
from segduet.core.volume import Volume
from segduet.preparation.prepare import prepare_case
from segduet.preparation.restore import restore_label_map

LABELS = {"labels": {"background": 0, "one": 1, "two": 2, "three": 3}}
REGIONS = {
    "labels": {"background": 0, "organ": [1, 2, 3], "core": [2, 3], "tip": 3},
    "regions_class_order": [1, 2, 3],
}


def scheme(dataset: dict[str, Any]) -> LabelScheme:
    order = dataset.get("regions_class_order")
    return LabelScheme.from_dataset_json(dataset["labels"], order, where="test")


def smooth_logits(channels: int, shape: tuple[int, ...], seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    noise = [ndimage.gaussian_filter(rng.normal(size=shape), (0.5, 1, 1)) for _ in range(channels)]
    return np.stack(noise).astype(np.float32)


def place(volume: Volume, plan: Plan):
    configuration = plan.configuration("c")
    prepared = prepare_case(volume, None, case="toy", plan=plan, configuration=configuration)
    return prepared.placement, configuration


@pytest.mark.parametrize("dataset", [LABELS, REGIONS], ids=["labels", "regions"])
def test_restored_label_maps_equal_nnunet(
    prepared_like: tuple[Plan, Volume, np.ndarray],
    dataset: dict[str, Any],
    nnunet_restores: Callable[..., np.ndarray],
) -> None:
    """F08, B11: at least 99.99 % of voxels; ties in float32 may fall differently."""
    plan, volume, _ = prepared_like
    placement, configuration = place(volume, plan)
    labels = scheme(dataset)
    logits = smooth_logits(labels.num_segmentation_heads, placement.prepared_shape)
    restored = restore_label_map(
        logits, placement=placement, configuration=configuration, labels=labels
    )
    expected = nnunet_restores(logits, volume, plan, dataset)
    assert restored.shape == volume.geometry.shape_zyx
    assert restored.dtype == np.uint8
    assert len(np.unique(restored)) == 4
    assert np.mean(restored == expected) >= 0.9999


def test_the_way_there_and_back_keeps_a_box(
    planned: Callable[..., Plan], imaged: Callable[..., tuple[Volume, np.ndarray]]
) -> None:
    """A box prepared and restored is the same box but for its rim; outside the crop is 0."""
    plan = planned((6.0, 1.0, 1.2), transpose=(2, 0, 1))
    volume, _ = imaged((31, 34, 8), (1.1, 0.9, 5.0), border=1)
    box = np.zeros(volume.geometry.shape_zyx, np.int16)
    box[8:24, 9:27, 2:6] = 2
    configuration = plan.configuration("c")
    prepared = prepare_case(volume, box, case="toy", plan=plan, configuration=configuration)
    assert prepared.label_map is not None
    labels = scheme(LABELS)
    logits = labels.encode(prepared.label_map).astype(np.float32)
    restored = restore_label_map(
        logits, placement=prepared.placement, configuration=configuration, labels=labels
    )
    np.testing.assert_array_equal(restored[10:22, 11:25, 3:5], 2)
    assert np.mean(restored == box) > 0.97
    assert not restored[0].any()


def test_logits_are_resampled_before_they_are_decoded(
    planned: Callable[..., Plan], imaged: Callable[..., tuple[Volume, np.ndarray]]
) -> None:
    """Two labels with crossing logits: the border lies where the interpolated logits cross."""
    plan = planned((1.0, 1.0, 3.0))
    volume, _ = imaged((2, 2, 6), (1.0, 1.0, 1.0))
    placement, configuration = place(volume, plan)
    assert placement.prepared_shape == (2, 2, 2)
    logits = np.zeros((2, 2, 2, 2), np.float32)
    logits[1, ..., 0], logits[1, ..., 1] = 3.0, -1.0
    restored = restore_label_map(
        logits,
        placement=placement,
        configuration=configuration,
        labels=scheme({"labels": {"background": 0, "one": 1}}),
    )
    # coarse voxel centres lie at x = 1 and 4 with logits 3 and -1, so 0 is crossed at x = 3.25;
    # labels decoded first would change at 2.5
    assert restored[0, 0].tolist() == [1, 1, 1, 1, 0, 0]
