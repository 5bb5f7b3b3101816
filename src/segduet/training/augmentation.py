"""Augmentation of one patch: nnU-Net's default set, seeded (F40-F42)."""

import contextlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

#: nnU-Net rotates in-plane only where one patch axis is this much shorter than the longest.
ANISOTROPY_THRESHOLD = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentationPlan:
    """What depends on the patch shape: rotation range, in-plane treatment, margin to read.

    Attributes:
        patch_size: (z, y, x) or (y, x) of the patch the network sees.
        in_plane: rotate and scale slices only (anisotropic patches).
        rotation_rad: largest rotation either way about each axis.
        read_size: size to read around the patch so that rotated corners hold image.
    """

    patch_size: tuple[int, ...]
    in_plane: bool
    rotation_rad: float
    read_size: tuple[int, ...]

    @property
    def mirror_axes(self) -> tuple[int, ...]:
        """All spatial axes, as in nnU-Net."""
        return tuple(range(len(self.patch_size)))


def plan_augmentation(
    patch_size: tuple[int, ...], preset: Literal["none", "default"]
) -> AugmentationPlan:
    """Decides rotation and margin for a patch shape by nnU-Net's rules.

    3D: +-30 degrees about each axis, or +-180 degrees in-plane where the patch is anisotropic.
    2D: +-180 degrees, or +-15 where one side is more than 1.5 times the other.

    Source: nnUNetTrainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size (2.8.1).
    """
    if preset == "none":
        return AugmentationPlan(
            patch_size=patch_size, in_plane=False, rotation_rad=0.0, read_size=patch_size
        )
    in_plane = len(patch_size) == 3 and max(patch_size) / patch_size[0] > ANISOTROPY_THRESHOLD
    if len(patch_size) == 2:
        degrees = 15.0 if max(patch_size) / min(patch_size) > 1.5 else 180.0
    else:
        degrees = 180.0 if in_plane else 30.0
    return AugmentationPlan(
        patch_size=patch_size,
        in_plane=in_plane,
        rotation_rad=float(np.deg2rad(degrees)),
        read_size=_read_size(patch_size, in_plane=in_plane, degrees=degrees),
    )


def _read_size(patch_size: tuple[int, ...], *, in_plane: bool, degrees: float) -> tuple[int, ...]:
    """Bounding box of the patch under every rotation about one axis at a time, over scale 0.85."""
    angle = np.deg2rad(min(90.0, degrees))
    cosine, sine = np.cos(angle), np.sin(angle)
    sizes = np.array(patch_size, dtype=float)
    largest = sizes.copy()
    for a in range(len(sizes)):
        for b in range(len(sizes)):
            if a != b and not (in_plane and 0 in (a, b)):
                largest[a] = max(largest[a], sizes[a] * cosine + sizes[b] * sine)
    largest /= 0.85
    if in_plane:
        largest[0] = sizes[0]
    return tuple(int(n) for n in largest)


def build_augmentation(plan: AugmentationPlan, preset: Literal["none", "default"]) -> Any:
    """The transform of a preset: called with `image=` and `segmentation=` tensors, seeded outside.

    `default` holds nnU-Net's operations with nnU-Net's probabilities and ranges; the Gaussian blur
    does not pick its implementation by timing, so that a seed gives the same patch on every run.
    The label map's padding is -1. `none` only crops the centre.

    Source: nnUNetTrainer.get_training_transforms (2.8.1).
    """
    from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms

    if preset == "none":
        return ComposeTransforms([])
    return ComposeTransforms([*_spatial(plan), *_intensity(plan), _mirror(plan)])


def _spatial(plan: AugmentationPlan) -> list[Any]:
    from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
    from batchgeneratorsv2.transforms.utils.pseudo2d import (
        Convert2DTo3DTransform,
        Convert3DTo2DTransform,
    )

    spatial = SpatialTransform(
        plan.patch_size[1:] if plan.in_plane else plan.patch_size,
        patch_center_dist_from_border=0,
        random_crop=False,
        p_elastic_deform=0,
        p_rotation=0.2,
        rotation=(-plan.rotation_rad, plan.rotation_rad),
        p_scaling=0.2,
        scaling=(0.7, 1.4),
        p_synchronize_scaling_across_axes=1,
        bg_style_seg_sampling=False,
        border_mode_seg="constant",
        padding_value_seg=-1,
    )
    if plan.in_plane:
        return [Convert3DTo2DTransform(), spatial, Convert2DTo3DTransform()]
    return [spatial]


def _intensity(plan: AugmentationPlan) -> list[Any]:
    from batchgeneratorsv2.transforms.intensity.brightness import MultiplicativeBrightnessTransform
    from batchgeneratorsv2.transforms.intensity.contrast import BGContrast, ContrastTransform
    from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
    from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
    from batchgeneratorsv2.transforms.spatial.low_resolution import SimulateLowResolutionTransform

    noise = GaussianNoiseTransform(
        noise_variance=(0, 0.1), p_per_channel=1, synchronize_channels=True
    )
    blur = GaussianBlurTransform(
        blur_sigma=(0.5, 1.0),
        synchronize_channels=False,
        synchronize_axes=False,
        p_per_channel=0.5,
        benchmark=False,
    )
    brightness = MultiplicativeBrightnessTransform(
        multiplier_range=BGContrast((0.75, 1.25)), synchronize_channels=False, p_per_channel=1
    )
    contrast = ContrastTransform(
        contrast_range=BGContrast((0.75, 1.25)),
        preserve_range=True,
        synchronize_channels=False,
        p_per_channel=1,
    )
    low_resolution = SimulateLowResolutionTransform(
        scale=(0.5, 1),
        synchronize_channels=False,
        synchronize_axes=True,
        ignore_axes=(0,) if plan.in_plane else None,
        allowed_channels=None,
        p_per_channel=0.5,
    )
    steps = [(noise, 0.1), (blur, 0.2), (brightness, 0.15), (contrast, 0.15)]
    return [_sometimes(t, p) for t, p in [*steps, (low_resolution, 0.25), *_gammas()]]


def _gammas() -> list[tuple[Any, float]]:
    from batchgeneratorsv2.transforms.intensity.contrast import BGContrast
    from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform

    inverted, plain = (
        GammaTransform(
            gamma=BGContrast((0.7, 1.5)),
            p_invert_image=invert,
            synchronize_channels=False,
            p_per_channel=1,
            p_retain_stats=1,
        )
        for invert in (1, 0)
    )
    return [(inverted, 0.1), (plain, 0.3)]


def _sometimes(transform: Any, probability: float) -> Any:
    from batchgeneratorsv2.transforms.utils.random import RandomTransform

    return RandomTransform(transform, apply_probability=probability)


def _mirror(plan: AugmentationPlan) -> Any:
    from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform

    return MirrorTransform(allowed_axes=plan.mirror_axes)


@contextlib.contextmanager
def seeded_globals(rng: np.random.Generator) -> Iterator[None]:
    """Seeds the global generators from `rng` for the block and restores them afterwards.

    batchgeneratorsv2 draws from numpy's, torch's and Python's global generators; this is the one
    place where they are touched.
    """
    states = np.random.get_state(), torch.get_rng_state(), random.getstate()  # noqa: NPY002
    seed = int(rng.integers(2**32))
    np.random.seed(seed)  # noqa: NPY002
    torch.manual_seed(seed)
    random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(states[0])  # noqa: NPY002
        torch.set_rng_state(states[1])
        random.setstate(states[2])
