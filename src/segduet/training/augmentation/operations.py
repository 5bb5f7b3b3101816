"""Operations that several presets share, built from batchgeneratorsv2 (imported when used)."""

from typing import Any

import numpy as np

from segduet.training.augmentation.plan import AugmentationPlan

#: Reach of batchgeneratorsv2's blur kernel on either side, in sigmas.
_BLUR_REACH = 3.0

#: A sigma in voxels whose kernel is a single 1.
_NO_BLUR = 0.05


def spatial(plan: AugmentationPlan, **options: Any) -> list[Any]:
    """Rotation and scaling of image and labels in one resampling, slice by slice if in-plane.

    Never elastic. Outside the image the label map is -1.

    Args:
        plan: patch shape and rotation range.
        **options: further arguments of batchgeneratorsv2's SpatialTransform.
    """
    from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
    from batchgeneratorsv2.transforms.utils.pseudo2d import (
        Convert2DTo3DTransform,
        Convert3DTo2DTransform,
    )

    resampling = SpatialTransform(
        plan.patch_size[1:] if plan.in_plane else plan.patch_size,
        patch_center_dist_from_border=0,
        random_crop=False,
        p_elastic_deform=0,
        rotation=(-plan.rotation_rad, plan.rotation_rad),
        bg_style_seg_sampling=False,
        border_mode_seg="constant",
        padding_value_seg=-1,
        **options,
    )
    if plan.in_plane:
        return [Convert3DTo2DTransform(), resampling, Convert2DTo3DTransform()]
    return [resampling]


def sometimes(transform: Any, probability: float) -> Any:
    """The transform, applied to a share of the patches."""
    from batchgeneratorsv2.transforms.utils.random import RandomTransform

    return RandomTransform(transform, apply_probability=probability)


def mirror(plan: AugmentationPlan) -> Any:
    """Flips every axis of the plan with probability 1/2."""
    from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform

    return MirrorTransform(allowed_axes=plan.mirror_axes)


def noise(largest: float) -> Any:
    """Gaussian noise whose standard deviation is uniform in [0, `largest`], alike in all channels.

    batchgeneratorsv2 calls the argument a variance and uses it as a standard deviation.
    """
    from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform

    return GaussianNoiseTransform(
        noise_variance=(0, largest), p_per_channel=1, synchronize_channels=True
    )


def brightness(low: float, high: float) -> Any:
    """Multiplies each channel by a factor in [low, high], below and above 1 equally often."""
    from batchgeneratorsv2.transforms.intensity.brightness import MultiplicativeBrightnessTransform
    from batchgeneratorsv2.transforms.intensity.contrast import BGContrast

    return MultiplicativeBrightnessTransform(
        multiplier_range=BGContrast((low, high)), synchronize_channels=False, p_per_channel=1
    )


def contrast(
    low: float, high: float, *, preserve_range: bool = True, channel_share: float = 1
) -> Any:
    """Stretches each channel about its mean by a factor in [low, high].

    Args:
        low: smallest factor.
        high: largest factor.
        preserve_range: clip to the channel's range before.
        channel_share: probability that a channel is changed.
    """
    from batchgeneratorsv2.transforms.intensity.contrast import BGContrast, ContrastTransform

    return ContrastTransform(
        contrast_range=BGContrast((low, high)),
        preserve_range=preserve_range,
        synchronize_channels=False,
        p_per_channel=channel_share,
    )


def gamma(low: float, high: float, *, inverted: bool) -> Any:
    """Raises intensities, scaled to [0, 1], to a power; mean and spread of the channel are kept.

    Args:
        low: smallest power.
        high: largest power.
        inverted: on the negative of the image, so that bright tissue is spread instead of dark.
    """
    from batchgeneratorsv2.transforms.intensity.contrast import BGContrast
    from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform

    return GammaTransform(
        gamma=BGContrast((low, high)),
        p_invert_image=int(inverted),
        synchronize_channels=False,
        p_per_channel=1,
        p_retain_stats=1,
    )


def blur(plan: AugmentationPlan, low: float, high: float, *, synchronize_axes: bool) -> Any:
    """Gaussian blur with a sigma in [low, high] voxels, on half of the channels.

    The implementation is not picked by timing, so that a seed gives the same patch on every run.
    Where the patch is thinner than the kernel, sigma is held down so that the kernel fits.
    """
    from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform

    fitting = max(_NO_BLUR, (min(plan.patch_size) - 1) / _BLUR_REACH)
    return GaussianBlurTransform(
        blur_sigma=(min(low, fitting), min(high, fitting)),
        synchronize_channels=False,
        synchronize_axes=synchronize_axes,
        p_per_channel=0.5,
        benchmark=False,
    )


def low_resolution(plan: AugmentationPlan, coarsest: float) -> Any:
    """Drops and restores resolution by a factor in [`coarsest`, 1], on half of the channels."""
    from batchgeneratorsv2.transforms.spatial.low_resolution import SimulateLowResolutionTransform

    return SimulateLowResolutionTransform(
        scale=(max(coarsest, _one_voxel(plan)), 1),
        synchronize_channels=False,
        synchronize_axes=True,
        ignore_axes=(0,) if plan.in_plane else None,
        allowed_channels=None,
        p_per_channel=0.5,
    )


def _one_voxel(plan: AugmentationPlan) -> float:
    """Scale at which the shortest axis would have a single voxel left."""
    return float(1 / np.min(plan.patch_size[1:] if plan.in_plane else plan.patch_size))
