"""nnU-Net's strong augmentation DA5 (F43)."""

from typing import Any

import numpy as np
import torch

from segduet.training.augmentation.operations import (
    blur,
    contrast,
    gamma,
    low_resolution,
    mirror,
    noise,
    sometimes,
    spatial,
)
from segduet.training.augmentation.plan import AugmentationPlan

#: Where the centre of a local change may lie, in shares of the patch; outside it is an edge's glow.
_LOCAL_CENTRE = (-0.5, 1.5)


def da5_operations(plan: AugmentationPlan) -> list[Any]:
    """The 15 operations of DA5 in its order, with its probabilities and ranges.

    There is no elastic deformation in it. Both gammas act on the negative, as in the source.
    Quarter turns and exchanged axes are left out where no two axes are alike; other than in the
    source, the slice axis of an anisotropic patch is never exchanged with another.

    Source: nnUNetTrainerDA5.get_training_transforms (2.8.1).
    """
    return [
        *spatial(
            plan,
            p_rotation=0.4,
            p_rot_per_axis=0.5,
            p_scaling=0.2,
            scaling=(0.7, 1.43),
            p_synchronize_scaling_across_axes=0,
        ),
        *_exchanged_axes(plan),
        _median_or_blur(plan),
        sometimes(noise(0.1), 0.1),
        sometimes(_shifted_brightness(), 0.1),
        _contrast_kept_or_not(),
        sometimes(low_resolution(plan, 0.25), 0.15),
        sometimes(gamma(0.7, 1.5, inverted=True), 0.1),
        sometimes(gamma(0.7, 1.5, inverted=True), 0.1),
        mirror(plan),
        sometimes(_blank_rectangles(plan), 0.4),
        sometimes(_brightness_gradient(), 0.3),
        sometimes(_local_gamma(), 0.3),
        sometimes(_sharpening(), 0.2),
    ]


def _exchanged_axes(plan: AugmentationPlan) -> list[Any]:
    from batchgeneratorsv2.transforms.spatial.rot90 import Rot90Transform
    from batchgeneratorsv2.transforms.spatial.transpose import TransposeAxesTransform

    axes = set(plan.exchangeable_axes)
    if not axes:
        return []
    quarter_turns = Rot90Transform(
        num_axis_combinations=1, num_rot_per_combination=(0, 1, 2, 3), allowed_axes=axes
    )
    return [
        sometimes(quarter_turns, 0.5),
        sometimes(TransposeAxesTransform(allowed_axes=axes), 0.5),
    ]


def _median_or_blur(plan: AugmentationPlan) -> Any:
    from batchgeneratorsv2.transforms.noise.median_filter import MedianFilterTransform
    from batchgeneratorsv2.transforms.utils.random import OneOfTransform

    median = MedianFilterTransform((2, 8), p_same_for_each_channel=0, p_per_channel=0.5)
    blurred = blur(plan, 0.3, 1.5, synchronize_axes=True)
    return OneOfTransform([sometimes(median, 0.2), sometimes(blurred, 0.2)])


def _shifted_brightness() -> Any:
    from batchgeneratorsv2.transforms.intensity.brightness import BrightnessAdditiveTransform

    return BrightnessAdditiveTransform(
        mu=0, sigma=0.5, synchronize_channels=False, p_per_channel=0.5
    )


def _contrast_kept_or_not() -> Any:
    from batchgeneratorsv2.transforms.utils.random import OneOfTransform

    either = [contrast(0.5, 2, preserve_range=kept, channel_share=0.5) for kept in (True, False)]
    return OneOfTransform([sometimes(transform, 0.2) for transform in either])


def _blank_rectangles(plan: AugmentationPlan) -> Any:
    from batchgeneratorsv2.transforms.noise.blank_rectangle import BlankRectangleTransform

    return BlankRectangleTransform(
        rectangle_size=rectangle_sides(plan.patch_size),
        rectangle_value=torch.mean,
        num_rectangles=(1, 5),
        force_square=False,
        p_per_channel=0.5,
    )


def rectangle_sides(patch_size: tuple[int, ...]) -> list[list[int]]:
    """Smallest side and, excluded, largest side of a blank rectangle along each axis, in voxels.

    A tenth to a third of the patch; a single voxel on axes too short for that.
    """
    smallest = [max(1, n // 10) for n in patch_size]
    return [[low, max(low + 1, n // 3)] for low, n in zip(smallest, patch_size, strict=True)]


def _brightness_gradient() -> Any:
    from batchgeneratorsv2.transforms.local.brightness_gradient import (
        BrightnessGradientAdditiveTransform,
    )

    return BrightnessGradientAdditiveTransform(
        scale=_local_width,
        loc=_LOCAL_CENTRE,
        max_strength=_gradient_strength,
        mean_centered=False,
        same_for_all_channels=False,
        p_per_channel=0.5,
    )


def _local_gamma() -> Any:
    from batchgeneratorsv2.transforms.local.local_gamma import LocalGammaTransform

    return LocalGammaTransform(
        scale=_local_width,
        loc=_LOCAL_CENTRE,
        gamma=_local_power,
        same_for_all_channels=False,
        p_per_channel=0.5,
    )


def _sharpening() -> Any:
    from batchgeneratorsv2.transforms.noise.sharpen import SharpeningTransform

    return SharpeningTransform(strength=(0.1, 1), p_same_for_each_channel=0, p_per_channel=0.5)


def _local_width(shape: list[int], axis: int) -> float:
    """Log-uniform between a sixth of the axis, at least one voxel, and the whole axis."""
    return float(np.exp(_uniform(np.log(max(1, shape[axis] // 6)), np.log(shape[axis]))))


def _gradient_strength(_image: torch.Tensor, _kernel: np.ndarray) -> float:
    return _of_either((-5.0, -1.0), (1.0, 5.0))


def _local_power() -> float:
    return _of_either((0.01, 0.8), (1.5, 4.0))


def _of_either(first: tuple[float, float], second: tuple[float, float]) -> float:
    return _uniform(*(first if _uniform(0.0, 1.0) < 0.5 else second))


def _uniform(low: float, high: float) -> float:
    # batchgeneratorsv2's own generator, seeded for each patch by `seeded_globals`
    return float(np.random.uniform(low, high))  # noqa: NPY002
