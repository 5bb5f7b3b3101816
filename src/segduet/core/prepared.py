"""A case as the network sees it, with the way back to the user's grid."""

from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from segduet.core.geometry import Geometry

Box = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """How a prepared array came from a native one: transpose, then crop, then resample.

    Attributes:
        native: grid of the user's image (before the transpose).
        transpose_forward: image axis (of z, y, x) that became axis i.
        transpose_backward: the inverse permutation.
        crop_box: half-open (start, stop) per transposed axis, in native voxels.
        prepared_shape: shape after resampling, transposed axes.
    """

    native: Geometry
    transpose_forward: tuple[int, int, int]
    transpose_backward: tuple[int, int, int]
    crop_box: Box
    prepared_shape: tuple[int, int, int]

    @property
    def transposed_shape(self) -> tuple[int, int, int]:
        """Native shape along the transposed axes."""
        z, y, x = (self.native.shape_zyx[axis] for axis in self.transpose_forward)
        return (z, y, x)

    @property
    def transposed_spacing_mm(self) -> tuple[float, float, float]:
        """Native spacing along the transposed axes."""
        z, y, x = (self.native.spacing_zyx_mm[axis] for axis in self.transpose_forward)
        return (z, y, x)

    @property
    def cropped_shape(self) -> tuple[int, int, int]:
        """Shape after the crop and before resampling."""
        z, y, x = (stop - start for start, stop in self.crop_box)
        return (z, y, x)

    def to_json(self) -> dict[str, Any]:
        """Plain types for a JSON file."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """Reads what `to_json` wrote."""
        native: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in content["native"].items()
        }
        return cls(
            native=Geometry(**native),
            transpose_forward=tuple(content["transpose_forward"]),
            transpose_backward=tuple(content["transpose_backward"]),
            crop_box=tuple((int(a), int(b)) for a, b in content["crop_box"]),  # type: ignore[arg-type]
            prepared_shape=tuple(content["prepared_shape"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedCase:
    """Normalised, resampled image (and label map) of one case.

    Attributes:
        case: case id.
        image: (C, Z, Y, X) float32, normalised, transposed axes.
        label_map: (Z, Y, X) int16 on the same grid; -1 marks voxels outside the nonzero crop
            mask, as in nnU-Net; None where there is no mask.
        placement: the way back.
    """

    case: str
    image: np.ndarray
    label_map: np.ndarray | None
    placement: Placement

    def __post_init__(self) -> None:
        assert self.image.shape[1:] == self.placement.prepared_shape
        assert self.label_map is None or self.label_map.shape == self.placement.prepared_shape
