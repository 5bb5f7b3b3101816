"""A light augmentation (F44)."""

from typing import Any

from segduet.training.augmentation.operations import brightness, mirror, noise, sometimes, spatial
from segduet.training.augmentation.plan import AugmentationPlan


def mild_operations(plan: AugmentationPlan) -> list[Any]:
    """Small rotations and scalings, light noise and brightness, mirroring; our own choice."""
    return [
        *spatial(
            plan,
            p_rotation=0.2,
            p_scaling=0.2,
            scaling=(0.9, 1.1),
            p_synchronize_scaling_across_axes=1,
        ),
        sometimes(noise(0.05), 0.1),
        sometimes(brightness(0.9, 1.1), 0.15),
        mirror(plan),
    ]
