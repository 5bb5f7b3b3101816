"""A prepared part of an image is that part of the prepared image (F72)."""

from collections.abc import Callable

import numpy as np
import pytest

from segduet.core.plan import Plan
from segduet.core.prepared import Box, PreparedCase
from segduet.core.volume import Volume
from segduet.preparation.cropping import nonzero_box
from segduet.preparation.prepare import prepare_case

REGION: Box = ((4, 12), (6, 22), (8, 24))


def prepared(
    volume: Volume, plan: Plan, region: Box | None = None, labels: np.ndarray | None = None
) -> PreparedCase:
    return prepare_case(
        volume,
        labels,
        case="toy",
        plan=plan,
        configuration=plan.configuration("c"),
        region=region,
    )


@pytest.mark.parametrize("use_mask", [False, True])
@pytest.mark.parametrize("scheme", ["CTNormalization", "ZScoreNormalization"])
def test_intensities_are_those_of_the_whole_image(
    imaged: Callable, planned: Callable, scheme: str, use_mask: bool
) -> None:
    """Bit for bit without resampling: mean and spread of MR are the whole image's."""
    volume, labels = imaged((16, 28, 30), (1.0, 1.0, 1.0), border=2)
    plan = planned((1.0, 1.0, 1.0), schemes=(scheme,), use_mask=use_mask)
    whole, part = prepared(volume, plan, labels=labels), prepared(volume, plan, REGION, labels)
    box = whole.placement.crop_box
    inner = tuple(slice(a - low, b - low) for (a, b), (low, _) in zip(REGION, box, strict=True))
    np.testing.assert_array_equal(part.image, whole.image[:, *inner])
    np.testing.assert_array_equal(part.label_map, whole.label_map[inner])
    assert part.placement.crop_box == REGION
    alone = volume.array[:, *(slice(*b) for b in REGION)]
    if scheme == "ZScoreNormalization":
        assert abs(part.image.mean()) > 0.01  # not that of the part, which would be 0
        assert abs(alone.mean()) > 0


def test_resampling_differs_at_the_rim_only(imaged: Callable, planned: Callable) -> None:
    """Twice as coarse: grids coincide; a cubic spline's reach falls off by 3.7 per voxel."""
    volume, _ = imaged((16, 32, 32), (1.0, 1.0, 1.0))
    plan = planned((2.0, 2.0, 2.0), schemes=("CTNormalization",))
    whole, part = prepared(volume, plan), prepared(volume, plan, ((0, 16), (8, 32), (4, 32)))
    inside, rim = whole.image[:, :, 4:, 2:], 4
    assert part.image.shape == inside.shape
    np.testing.assert_allclose(
        part.image[:, :, rim:, rim:], inside[:, :, rim:, rim:], rtol=0, atol=0.02
    )
    assert np.abs(part.image - inside).max() > 1e-4


def test_a_region_along_transposed_axes(imaged: Callable, planned: Callable) -> None:
    """Axes of the region are those after the transpose."""
    volume, _ = imaged((31, 34, 18), (1.1, 0.9, 1.0), border=2)
    plan = planned((1.0, 1.1, 0.9), transpose=(2, 0, 1))
    whole = nonzero_box(volume.array.transpose(0, 3, 1, 2))
    region = (whole[0], (5, 20), (6, 30))
    part, full = prepared(volume, plan, region), prepared(volume, plan)
    assert full.placement.crop_box == whole
    z, y, x = (slice(start, stop) for start, stop in region)
    low_z, low_y, low_x = (start for start, _ in whole)
    inner = full.image[
        :, z.start - low_z :, y.start - low_y : y.stop - low_y, x.start - low_x : x.stop - low_x
    ]
    np.testing.assert_array_equal(part.image, inner)
