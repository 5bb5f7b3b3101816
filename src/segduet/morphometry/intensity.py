"""Brightness of a region, and how it stands out from its surroundings."""

import numpy as np
from scipy import ndimage

from segduet.core.geometry import Geometry
from segduet.core.scores import Score

SHELL_MM = 6.0
INTENSITY_MEASURES = ("mean", "sd", "p10", "p50", "p90", "shell_contrast", "shell_sd_ratio")


def region_intensity(
    mask: np.ndarray, channel: np.ndarray, geometry: Geometry, *, shell_mm: float = SHELL_MM
) -> dict[str, Score]:
    """Mean, deviation and percentiles inside a region, and its contrast to a shell around it.

    The contrast and the ratio do not depend on the scanner's scale; the others do.

    Args:
        mask: (Z, Y, X) bool.
        channel: (Z, Y, X), any numeric dtype.
        geometry: their grid.
        shell_mm: thickness of the shell within each slice, > 0 (pixels for a 2D image).

    Returns:
        `INTENSITY_MEASURES`: `shell_contrast` is (mean inside - mean of the shell) / deviation of
        the shell, `shell_sd_ratio` deviation inside / deviation of the shell. Undefined for an
        empty region; the last two also where the shell is empty or of one value.
    """
    if not mask.any():
        reason = "the region is empty"
        return {name: Score(value=None, reason=reason) for name in INTENSITY_MEASURES}
    inside = channel[mask].astype(np.float64)
    numbers = [inside.mean(), inside.std(), *np.percentile(inside, [10, 50, 90])]
    scores = [Score(value=float(n)) for n in numbers]
    shell = channel[_shell(mask, geometry, shell_mm)].astype(np.float64)
    if shell.size == 0 or np.ptp(shell) == 0:
        flat = Score(value=None, reason="the shell around the region is empty or of one value")
        return dict(zip(INTENSITY_MEASURES, [*scores, flat, flat], strict=True))
    contrast = (inside.mean() - shell.mean()) / shell.std()
    relative = [Score(value=float(n)) for n in (contrast, inside.std() / shell.std())]
    return dict(zip(INTENSITY_MEASURES, [*scores, *relative], strict=True))


def _shell(mask: np.ndarray, geometry: Geometry, shell_mm: float) -> np.ndarray:
    """Pixels outside the region within `shell_mm` of it, slice by slice: (Z, Y, X) bool."""
    shell = np.zeros_like(mask)
    for z in np.flatnonzero(mask.any((1, 2))):
        distance = ndimage.distance_transform_edt(~mask[z], sampling=geometry.spacing_zyx_mm[1:])
        shell[z] = (distance > 0) & (distance <= shell_mm)
    return shell
