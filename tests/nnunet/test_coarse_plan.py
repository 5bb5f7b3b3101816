"""The configuration that finds the region (F72)."""

import copy
import math
from typing import Any

import numpy as np
import pytest

from segduet.core.errors import RequestError
from segduet.core.plan import Plan
from segduet.nnunet.coarse_plan import with_coarse_configuration
from tiny_plans import tiny_configuration

pytest.importorskip("nnunetv2")


def plan_of(shape: tuple[float, ...], spacing: tuple[float, ...]) -> dict[str, Any]:
    fine = tiny_configuration((8, 16, 16)).model_dump(mode="json", by_alias=True)
    own = {"median_image_size_in_voxels": list(shape), "spacing": list(spacing)}
    return {
        "dataset_name": "Dataset501_ct",
        "plans_name": "plans",
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "foreground_intensity_properties_per_channel": {},
        "configurations": {"3d_fullres": {**fine, **own}},
    }


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [
        ((150, 561, 561), (2.0, 0.73, 0.73)),
        ((400, 400, 400), (1.0,) * 3),
        ((40, 512, 512), (5.0, 0.7, 0.7)),
    ],
)
def test_the_median_image_is_one_window_of_a_million_and_a_half_voxels(
    shape: tuple[float, ...], spacing: tuple[float, ...]
) -> None:
    """Voxels become more alike, no axis finer; the patch holds the image, 8 to 80 features."""
    plan = plan_of(shape, spacing)
    before = copy.deepcopy(plan)
    made = Plan.model_validate(with_coarse_configuration(plan))
    assert plan == before
    assert made.to_json()["configurations"]["3d_fullres"] == before["configurations"]["3d_fullres"]
    coarse = made.configuration("3d_coarse")
    median = [n * a / b for n, a, b in zip(shape, spacing, coarse.spacing, strict=True)]
    assert 1.3e6 < math.prod(median) <= 1.5e6
    assert all(b >= a for a, b in zip(spacing, coarse.spacing, strict=True))
    ratio = max(coarse.spacing) / min(coarse.spacing)
    assert ratio <= max(spacing) / min(spacing)
    assert ratio < 2.1 or coarse.spacing[0] == spacing[0]
    strides = np.prod(coarse.architecture.arch_kwargs["strides"], axis=0)
    for length, n, stride in zip(coarse.patch_size, median, strides, strict=True):
        assert n - 1 <= length < n + stride + 1
        assert length % stride == 0
    features = coarse.architecture.arch_kwargs["features_per_stage"]
    assert (features[0], max(features)) == (8, 80)
    assert coarse.normalization_schemes == ("ZScoreNormalization",)
    assert coarse.data_identifier == "plans_3d_coarse"


def test_nnunet_reads_it_too() -> None:
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    plan = with_coarse_configuration(plan_of((100, 300, 300), (2.0, 1.0, 1.0)))
    coarse = PlansManager(plan).get_configuration("3d_coarse")
    assert coarse.spacing == plan["configurations"]["3d_coarse"]["spacing"]
    assert coarse.previous_stage_name is None


@pytest.mark.parametrize(
    ("change", "found"),
    [({"median_image_size_in_voxels": [100.0, 170.0, 170.0]}, "2890000 voxels"), (None, "3d_full")],
)
def test_images_that_need_no_coarse_look_are_refused(
    change: dict[str, Any] | None, found: str
) -> None:
    plan = plan_of((200, 300, 300), (2.0, 1.0, 1.0))
    if change is None:
        plan["configurations"] = {"2d": plan["configurations"]["3d_fullres"]}
    else:
        plan["configurations"]["3d_fullres"].update(change)
    with pytest.raises(RequestError, match=found):
        with_coarse_configuration(plan)
