"""An augmentation that leaves alone what a class is read from (F44)."""

from collections.abc import Mapping
from typing import Any

import torch

from segduet.training.augmentation.da5 import rectangle_sides
from segduet.training.augmentation.operations import (
    brightness,
    contrast,
    gamma,
    mirror,
    sometimes,
    spatial,
)
from segduet.training.augmentation.plan import AugmentationPlan


def cue_preserving_operations(plan: AugmentationPlan) -> list[Any]:
    """Rotation, mirroring, mild intensity changes, blank rectangles in the background.

    Texture stays: no blur, no low resolution, no noise, and rotation takes the nearest voxel, since
    interpolation smooths. Size and shape stay: no scaling, no elastic deformation. Intensities stay
    in order and nearly in place. Our own choice; the nearest voxel as in nnUNetTrainerDA5ord0.
    """
    return [
        *spatial(plan, p_rotation=0.2, p_scaling=0, mode_image="nearest", mode_seg="nearest"),
        sometimes(brightness(0.9, 1.1), 0.15),
        sometimes(contrast(0.9, 1.1), 0.15),
        sometimes(gamma(0.85, 1.2, inverted=False), 0.15),
        mirror(plan),
        sometimes(BlankBackground(plan.patch_size), 0.2),
    ]


class BlankBackground:
    """Blank rectangles of the local mean, in voxels known to be background only.

    Every region of the label map is spared, and so is what has no label (-1), so that the evidence
    for a class is never hidden.
    """

    def __init__(self, patch_size: tuple[int, ...]) -> None:
        from batchgeneratorsv2.transforms.noise.blank_rectangle import BlankRectangleTransform

        self._rectangles = BlankRectangleTransform(
            rectangle_size=rectangle_sides(patch_size),
            rectangle_value=torch.mean,
            num_rectangles=(1, 5),
            force_square=False,
            p_per_channel=1,
        )

    def __call__(self, **tensors: torch.Tensor) -> Mapping[str, torch.Tensor]:
        """Takes and gives `image` (C, *spatial) and `segmentation`, the label map first."""
        blanked = self._rectangles(image=tensors["image"].clone())["image"]
        image = torch.where(tensors["segmentation"][:1] == 0, blanked, tensors["image"])
        return {**tensors, "image": image}
