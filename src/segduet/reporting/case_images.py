"""The arrays of one case that pictures and viewer are made of, and which part of them matters."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from segduet.core.geometry import Geometry

#: In `LabelScheme.foreground`'s order. Bright on grey images, apart from each other with
#: colour-vision deficiency (Okabe and Ito).
REGION_COLOURS = ("#56b4e9", "#f0b429", "#2ecc9b", "#e78ac3", "#f4f4f4")


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseImages:
    """One case with its reference and its prediction, on one grid.

    Attributes:
        case: case id.
        image: (C, Z, Y, X); the first channel is shown.
        reference: (Z, Y, X) integer label map.
        prediction: (Z, Y, X) integer label map.
        geometry: their grid.
        attention: task -> (Z, Y, X) where its head looked, >= 0; empty where that is unknown.
    """

    case: str
    image: np.ndarray
    reference: np.ndarray
    prediction: np.ndarray
    geometry: Geometry
    attention: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        grid = self.geometry.shape_zyx
        assert self.image.shape[1:] == grid, (self.image.shape, grid)
        assert self.reference.shape == self.prediction.shape == grid, self.reference.shape
        assert all(weights.shape == grid for weights in self.attention.values()), self.case

    @property
    def foreground(self) -> np.ndarray:
        """Where reference or prediction is not background: (Z, Y, X) bool."""
        return (self.reference > 0) | (self.prediction > 0)


def region_colour(number: int) -> str:
    """Colour of the region at this place of `LabelScheme.foreground`; they repeat after five."""
    return REGION_COLOURS[number % len(REGION_COLOURS)]


def slice_of_interest(reference: np.ndarray, prediction: np.ndarray) -> int:
    """Index of the slice (first axis) where the two differ most, by voxels.

    Without a difference the slice with most foreground; the middle one where there is none.
    """
    for marked in (reference != prediction, reference > 0):
        areas = np.count_nonzero(marked, axis=(1, 2))
        if areas.any():
            return int(areas.argmax())
    return len(reference) // 2


def neighbourhood(
    foreground: np.ndarray, *, share: float, at_least: tuple[float, ...]
) -> tuple[slice, ...]:
    """The box around the foreground with a margin on each side; everything where there is none.

    Args:
        foreground: bool, any number of axes.
        share: margin as a share of the foreground's extent along each axis.
        at_least: smallest margin along each axis, in voxels.
    """
    if not foreground.any():
        return tuple(slice(0, length) for length in foreground.shape)
    box = []
    for axis, (length, smallest) in enumerate(zip(foreground.shape, at_least, strict=True)):
        others = tuple(a for a in range(foreground.ndim) if a != axis)
        found = np.flatnonzero(foreground.any(axis=others))
        first, last = int(found[0]), int(found[-1])
        margin = int(np.ceil(max(smallest, share * (last - first + 1))))
        box.append(slice(max(0, first - margin), min(length, last + 1 + margin)))
    return tuple(box)
