"""What an augmentation needs to know about the patch before any is drawn (F40)."""

from dataclasses import dataclass

import numpy as np

from segduet.training.config import AugmentationPreset

#: nnU-Net rotates in-plane only where one patch axis is this much shorter than the longest.
ANISOTROPY_THRESHOLD = 3

#: Small rotations of `mild`, in degrees either way.
MILD_DEGREES = 15.0

#: How much smaller than read a scaled patch may show the image, by preset; the margin is for this.
#: nnU-Net reads for 0.85 although `default` shrinks to 1 / 1.4; `da5` shrinks to 1 / 1.43.
_READ_SCALE = {"mild": 1 / 1.1, "default": 0.85, "da5": 0.7, "cue_preserving": 0.85}


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

    @property
    def exchangeable_axes(self) -> tuple[int, ...]:
        """Axes of equal size and equal spacing, at least two; empty where there are none."""
        axes = [a for a in self.mirror_axes if not (self.in_plane and a == 0)]
        sizes = [self.patch_size[a] for a in axes]
        most_common = max(sizes, key=sizes.count)
        if sizes.count(most_common) < 2:
            return ()
        return tuple(a for a in axes if self.patch_size[a] == most_common)


def plan_augmentation(patch_size: tuple[int, ...], preset: AugmentationPreset) -> AugmentationPlan:
    """Decides rotation and margin for a patch shape by nnU-Net's rules.

    3D: +-30 degrees about each axis, or +-180 degrees in-plane where the patch is anisotropic.
    2D: +-180 degrees, or +-15 where one side is more than 1.5 times the other. `mild` never
    exceeds +-15; `none` rotates and reads nothing more.

    Source: configure_rotation_dummyDA_mirroring_and_inital_patch_size of nnUNetTrainer and
    nnUNetTrainerDA5 (2.8.1).
    """
    if preset == "none":
        return AugmentationPlan(
            patch_size=patch_size, in_plane=False, rotation_rad=0.0, read_size=patch_size
        )
    in_plane = len(patch_size) == 3 and max(patch_size) / patch_size[0] > ANISOTROPY_THRESHOLD
    degrees = _largest_rotation(patch_size, in_plane=in_plane)
    if preset == "mild":
        degrees = min(degrees, MILD_DEGREES)
    return AugmentationPlan(
        patch_size=patch_size,
        in_plane=in_plane,
        rotation_rad=float(np.deg2rad(degrees)),
        read_size=_read_size(
            patch_size, in_plane=in_plane, degrees=degrees, scale=_READ_SCALE[preset]
        ),
    )


def _largest_rotation(patch_size: tuple[int, ...], *, in_plane: bool) -> float:
    if len(patch_size) == 2:
        return 15.0 if max(patch_size) / min(patch_size) > 1.5 else 180.0
    return 180.0 if in_plane else 30.0


def _read_size(
    patch_size: tuple[int, ...], *, in_plane: bool, degrees: float, scale: float
) -> tuple[int, ...]:
    """Bounding box of the patch under every rotation about one axis at a time, over a scale."""
    angle = np.deg2rad(min(90.0, degrees))
    cosine, sine = np.cos(angle), np.sin(angle)
    sizes = np.array(patch_size, dtype=float)
    largest = sizes.copy()
    for a in range(len(sizes)):
        for b in range(len(sizes)):
            if a != b and not (in_plane and 0 in (a, b)):
                largest[a] = max(largest[a], sizes[a] * cosine + sizes[b] * sine)
    largest /= scale
    if in_plane:
        largest[0] = sizes[0]
    return tuple(int(n) for n in largest)
