"""Thickness of a wall around a cavity, such as the myocardium around the left ventricle."""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from segduet.core.geometry import Geometry
from segduet.core.scores import Score

WALL_MEASURES = (
    "thickness_mean_mm",
    "thickness_p95_mm",
    "thickness_p5_mm",
    "thickness_sd_mm",
    "thickness_sd_in_slice_mm",
    "thickness_sd_between_slices_mm",
    "thickness_thickest_slice_mm",
    "thickness_thinnest_slice_mm",
)


def wall_thickness(wall: np.ndarray, cavity: np.ndarray, geometry: Geometry) -> dict[str, Score]:
    """Thickness of the wall, measured within each slice that holds both wall and cavity.

    At a wall pixel the thickness is its distance to the cavity plus its distance to the outside,
    edge to edge (distances between pixel centres count one pixel too many); the z axis is left
    out, since slices are often ten times further apart than pixels.

    Args:
        wall: (Z, Y, X) bool.
        cavity: (Z, Y, X) bool, disjoint from the wall.
        geometry: their grid.

    Returns:
        `WALL_MEASURES`: mean, 95th and 5th percentile and standard deviation over all wall pixels;
        mean over slices of the deviation within a slice; deviation, largest and smallest of the
        slices' means. Undefined where no slice holds both.
    """
    both = np.flatnonzero(wall.any((1, 2)) & cavity.any((1, 2)))
    if both.size == 0:
        reason = "no slice holds both wall and cavity"
        return {name: Score(value=None, reason=reason) for name in WALL_MEASURES}
    spacing = geometry.spacing_zyx_mm[1:]
    slices = [_slice_thickness_mm(wall[z], cavity[z], spacing) for z in both]
    return {
        name: Score(value=float(value))
        for name, value in zip(WALL_MEASURES, _statistics(slices), strict=True)
    }


def _slice_thickness_mm(
    wall: np.ndarray, cavity: np.ndarray, spacing_yx_mm: tuple[float, float]
) -> np.ndarray:
    """Thickness at every wall pixel of a slice: (N,) float64."""
    box = ndimage.find_objects((wall | cavity).astype(np.uint8))[0]
    # a frame of outside, so that a wall at the edge of the box has an outside too
    wall, cavity = np.pad(wall[box], 1), np.pad(cavity[box], 1)
    to_cavity = ndimage.distance_transform_edt(~cavity, sampling=spacing_yx_mm)
    to_outside = ndimage.distance_transform_edt(wall | cavity, sampling=spacing_yx_mm)
    thickness: np.ndarray = (to_cavity + to_outside)[wall] - float(np.mean(spacing_yx_mm))
    return thickness


def _statistics(slices: Sequence[np.ndarray]) -> tuple[float, ...]:
    everywhere = np.concatenate(slices)
    means = np.array([s.mean() for s in slices])
    return (
        everywhere.mean(),
        np.percentile(everywhere, 95),
        np.percentile(everywhere, 5),
        everywhere.std(),
        float(np.mean([s.std() for s in slices])),
        means.std(),
        means.max(),
        means.min(),
    )
