"""Sizes and shapes of the regions in reference masks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy import ndimage

from segduet.core.labels import LabelScheme
from segduet.core.volume import Volume
from segduet.evaluation.scoring import scored_regions
from segduet.metrics.detection import components
from segduet.metrics.surface import union_box

#: A component of fewer voxels than a cube (in a plane: a square) of this side is tiny: more than
#: three quarters of the cube's voxels lie on its surface. The sources give no number.
TINY_SIDE_VOXELS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionInMask:
    """One region in one mask.

    Attributes:
        volume_ml: 0 where the region is empty; of a picture, pixels / 1000.
        num_components: pieces, joined through faces, edges and corners.
        num_tiny: of these, the tiny ones.
        compactness: of the largest piece: radius of the largest ball inside it by that of a ball
            of its volume. 1 for a ball, the smaller the thinner; None where that piece is tiny.
    """

    volume_ml: float
    num_components: int
    num_tiny: int
    compactness: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskFingerprint:
    """One reference mask.

    Attributes:
        has_unit: whether its distances are millimetres.
        spacing_ratio: largest by smallest spacing; None of one slice.
        regions: every scored region.
    """

    has_unit: bool
    spacing_ratio: float | None
    regions: dict[str, RegionInMask]


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionFingerprint:
    """One region over all masks.

    Attributes:
        num_masks: masks looked at.
        num_present: of these, masks with the region.
        num_several: of these, masks with more than one piece of it.
        num_components: pieces in all masks.
        num_tiny: of these, the tiny ones.
        median_volume_ml: where it is present; None if it never is.
        size_ratio: 90th by 10th percentile of its volume; likewise.
        compactness: median, see `RegionInMask`; None if no mask has one.
    """

    num_masks: int
    num_present: int
    num_several: int
    num_components: int
    num_tiny: int
    median_volume_ml: float | None
    size_ratio: float | None
    compactness: float | None

    @classmethod
    def of(cls, found: Sequence[RegionInMask]) -> Self:
        """Joins what was found in each mask."""
        present = [one for one in found if one.num_components]
        volumes = [one.volume_ml for one in present]
        shapes = [one.compactness for one in present if one.compactness is not None]
        low, middle, high = np.percentile(volumes, (10, 50, 90)) if volumes else (0.0, 0.0, 0.0)
        return cls(
            num_masks=len(found),
            num_present=len(present),
            num_several=sum(one.num_components > 1 for one in present),
            num_components=sum(one.num_components for one in present),
            num_tiny=sum(one.num_tiny for one in present),
            median_volume_ml=float(middle) if volumes else None,
            size_ratio=float(high / low) if volumes else None,
            compactness=float(np.median(shapes)) if shapes else None,
        )


def mask_fingerprint(mask: Volume, labels: LabelScheme) -> MaskFingerprint:
    """Measures every scored region of a reference mask.

    Args:
        mask: (1, Z, Y, X) integer label map of declared values.
        labels: what the values mean; voxels nobody annotated belong to no region.
    """
    spacing: tuple[float, ...] = mask.geometry.spacing_zyx_mm
    is_flat = mask.geometry.shape_zyx[0] == 1
    array = mask.array[0, 0] if is_flat else mask.array[0]
    spacing = spacing[1:] if is_flat else spacing
    return MaskFingerprint(
        has_unit=mask.geometry.num_spatial_dims == 3,
        spacing_ratio=None if is_flat else max(spacing) / min(spacing),
        regions={
            name: _region(np.isin(array, members), spacing, mask.geometry.voxel_volume_ml)
            for name, members in scored_regions(labels).items()
        },
    )


def _region(region: np.ndarray, spacing: tuple[float, ...], voxel_ml: float) -> RegionInMask:
    numbers, how_many = components(region[union_box(region, region)])
    sizes = np.bincount(numbers.ravel(), minlength=1)[1:]
    tiny_below = TINY_SIDE_VOXELS**region.ndim
    has_shape = sizes.max(initial=0) >= tiny_below
    return RegionInMask(
        volume_ml=int(sizes.sum()) * voxel_ml,
        num_components=how_many,
        num_tiny=int(np.count_nonzero(sizes < tiny_below)),
        compactness=_compactness(numbers == sizes.argmax() + 1, spacing) if has_shape else None,
    )


def _compactness(piece: np.ndarray, spacing: tuple[float, ...]) -> float:
    depth = ndimage.distance_transform_edt(np.pad(piece, 1), sampling=spacing)
    # from the deepest voxel's centre to the outline, half a voxel before the next centre outside
    inner = float(depth.max()) - 0.5 * min(spacing)
    size = np.count_nonzero(piece) * float(np.prod(spacing))
    outer = (3 * size / (4 * np.pi)) ** (1 / 3) if piece.ndim == 3 else (size / np.pi) ** 0.5
    return inner / float(outer)
