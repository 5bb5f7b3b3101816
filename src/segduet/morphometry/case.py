"""Everything measured on the label map of one image."""

from dataclasses import dataclass

import numpy as np

from segduet.core.errors import RequestError
from segduet.core.geometry import Geometry
from segduet.core.labels import LabelScheme
from segduet.core.scores import Score
from segduet.morphometry.intensity import region_intensity
from segduet.morphometry.shape import region_relations, region_shape
from segduet.morphometry.wall import wall_thickness


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasurePlan:
    """What is measured on every image.

    Attributes:
        labels: the regions of the label maps.
        walls: (wall region, cavity region) pairs whose thickness is measured.

    Raises:
        RequestError: a wall names a region that the labels do not have, or is its own cavity.
    """

    labels: LabelScheme
    walls: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        for wall, cavity in self.walls:
            unknown = [name for name in (wall, cavity) if name not in self.labels.foreground]
            if unknown or wall == cavity:
                raise RequestError(
                    f"wall {wall!r} around {cavity!r}",
                    found=f"no region {unknown[0]!r}" if unknown else "one region for both",
                    expected=f"two of {list(self.labels.foreground)}",
                    remedy="Name the wall and the cavity it encloses, such as MYO:LV.",
                )


def measure_case(
    label_map: np.ndarray,
    geometry: Geometry,
    plan: MeasurePlan,
    image: np.ndarray | None = None,
) -> dict[str, Score]:
    """Shape, wall and intensity measurements of every region of one image, by name.

    The names are the same for every image of a kind (2D or 3D), whatever regions are empty.

    Args:
        label_map: (Z, Y, X) integers.
        geometry: its grid.
        plan: what to measure.
        image: (C, Z, Y, X) on the same grid; None measures no intensity.

    Returns:
        `<region>.<measure>`, `<a>/<b>.volume_ratio`, `<a>-<b>.centroid_distance_mm`; with an
        image also `<region>.intensity<channel>_<measure>`.
    """
    masks = {name: plan.labels.mask(label_map, name) for name in plan.labels.foreground}
    measures = region_relations(masks, geometry)
    for name, mask in masks.items():
        measures |= _named(name, region_shape(mask, geometry))
        for number, channel in enumerate(() if image is None else image):
            intensity = region_intensity(mask, channel, geometry)
            measures |= {f"{name}.intensity{number}_{m}": s for m, s in intensity.items()}
    for wall, cavity in plan.walls:
        thickness = wall_thickness(masks[wall] & ~masks[cavity], masks[cavity], geometry)
        measures |= _named(wall, thickness)
    return measures


def _named(region: str, measures: dict[str, Score]) -> dict[str, Score]:
    return {f"{region}.{measure}": score for measure, score in measures.items()}
