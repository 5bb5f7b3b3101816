"""nnU-Net's default augmentation (F40-F42)."""

from typing import Any

from segduet.training.augmentation.operations import (
    blur,
    brightness,
    contrast,
    gamma,
    low_resolution,
    mirror,
    noise,
    sometimes,
    spatial,
)
from segduet.training.augmentation.plan import AugmentationPlan


def default_operations(plan: AugmentationPlan) -> list[Any]:
    """nnU-Net's operations in its order, with its probabilities and ranges.

    Source: nnUNetTrainer.get_training_transforms (2.8.1). Blur: see `operations.blur`.
    """
    return [
        *spatial(
            plan,
            p_rotation=0.2,
            p_scaling=0.2,
            scaling=(0.7, 1.4),
            p_synchronize_scaling_across_axes=1,
        ),
        sometimes(noise(0.1), 0.1),
        sometimes(blur(plan, 0.5, 1.0, synchronize_axes=False), 0.2),
        sometimes(brightness(0.75, 1.25), 0.15),
        sometimes(contrast(0.75, 1.25), 0.15),
        sometimes(low_resolution(plan, 0.5), 0.25),
        sometimes(gamma(0.7, 1.5, inverted=True), 0.1),
        sometimes(gamma(0.7, 1.5, inverted=False), 0.3),
        mirror(plan),
    ]
