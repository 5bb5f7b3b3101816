"""A whole abdomen around the pancreas phantom, for finding the organ and for speed (F11)."""

from dataclasses import dataclass, field

import numpy as np

from segduet.core.errors import RequestError
from segduet.dataset.phantoms.canvas import AIR_HU, Canvas, Triple, ellipsoid_ratio
from segduet.dataset.phantoms.pancreas import (
    PancreasPhantomConfig,
    PhantomCase,
    draw_pancreas_parameters,
    paint_case,
    paint_fat,
)

#: Centre of the body in shares of the pancreas ROI, and its radii; z is as good as endless.
_BODY_CENTRE_ZYX = np.array([0.5, 0.60, 0.50])
_BODY_RADII_ZYX = np.array([99.0, 1.40, 1.40])
_SKIN_MM, _SUBCUTIS_MM, _MUSCLE_MM = 2.0, 18.0, 10.0
_SKIN_HU, _MUSCLE_HU = 40.0, 55.0

#: The table: its distance from the back, its half width and its thickness, shell included.
_TABLE_GAP_MM, _TABLE_HALF_WIDTH_MM, _TABLE_MM = 8.0, 190.0, 14.0
_ENDLESS_MM = 1e6
_TABLE_SHELL_MM, _TABLE_SHELL_HU, _TABLE_HU = 2.5, 120.0, -400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AbdomenPhantomConfig:
    """Grid of the scan, and the pancreas in it.

    Attributes:
        shape_zyx: array size; the pancreas ROI lies about in the middle.
        spacing_zyx_mm: voxel size.
        pancreas: anatomy, lesion and noise; its spacings are not used.
        placement_sd: how far the ROI lies from the middle, standard deviation along each axis as a
            share of the room that the scan leaves it; never by more than a fifth of that room.
        has_table: whether the patient lies on a table, which is no part of the body.

    Raises:
        RequestError: the pancreas would not fit into the scan.
    """

    shape_zyx: tuple[int, int, int] = (120, 512, 512)
    spacing_zyx_mm: Triple = (2.5, 0.8, 0.8)
    pancreas: PancreasPhantomConfig = field(default_factory=PancreasPhantomConfig.quiz)
    placement_sd: float = 0.05
    has_table: bool = False

    def __post_init__(self) -> None:
        extent = np.array(self.shape_zyx) * np.array(self.spacing_zyx_mm)
        if np.any(extent < self.pancreas.extent_zyx_mm):
            raise RequestError(
                "abdomen phantom",
                found=f"a scan of {extent.tolist()} mm (zyx)",
                expected=f"at least the pancreas ROI of {list(self.pancreas.extent_zyx_mm)} mm",
                remedy="Enlarge shape_zyx or spacing_zyx_mm.",
            )


def generate_abdomen_case(config: AbdomenPhantomConfig, *, subtype: int, seed: int) -> PhantomCase:
    """Renders a whole abdomen; organs and lesion are those of the pancreas phantom.

    Volumes in mm3 are those of the ROI phantom of the same seed up to half a voxel. 120 x 512 x
    512 voxels need about 1 GB.

    Raises:
        RequestError: the subtype is not 0, 1 or 2.
    """
    parameters = draw_pancreas_parameters(config.pancreas, seed=seed)
    rng = np.random.default_rng([seed, 1])
    slack = np.array(config.shape_zyx) * config.spacing_zyx_mm - parameters.roi_mm
    corner = slack * np.clip(0.5 + config.placement_sd * rng.standard_normal(3), 0.3, 0.7)
    origin = 0.5 * np.array(config.spacing_zyx_mm) - corner
    canvas = Canvas.blank(
        config.shape_zyx,
        spacing=config.spacing_zyx_mm,
        origin=(float(origin[0]), float(origin[1]), float(origin[2])),
    )
    paint_fat(canvas, rng)
    _paint_body_wall(canvas, parameters.roi_mm)
    if config.has_table:
        _paint_table(canvas, parameters.roi_mm)
    return paint_case(canvas, config.pancreas, parameters, subtype=subtype)


def _paint_body_wall(canvas: Canvas, roi_mm: np.ndarray) -> None:
    """Paints muscle wall, skin and the air outside on a canvas of fat."""
    centre, radii = _BODY_CENTRE_ZYX * roi_mm, _BODY_RADII_ZYX * roi_mm
    slice_box = (slice(0, 1), slice(0, canvas.image.shape[1]), slice(0, canvas.image.shape[2]))
    depth = _depth_mm(canvas, slice_box, centre, radii)
    muscle = (depth >= _SUBCUTIS_MM) & (depth < _SUBCUTIS_MM + _MUSCLE_MM)
    skin = (depth >= 0) & (depth < _SKIN_MM)
    for mask, hu in ((muscle, _MUSCLE_HU), (skin, _SKIN_HU), (depth < 0, AIR_HU)):
        canvas.image[:, mask[0]] = hu


def _paint_table(canvas: Canvas, roi_mm: np.ndarray) -> None:
    """Paints a flat table below the back, from the first slice to the last."""
    top = float((_BODY_CENTRE_ZYX + _BODY_RADII_ZYX)[1] * roi_mm[1]) + _TABLE_GAP_MM
    middle = float(_BODY_CENTRE_ZYX[2] * roi_mm[2])
    for inset, hu in ((0.0, _TABLE_SHELL_HU), (_TABLE_SHELL_MM, _TABLE_HU)):
        half_width = _TABLE_HALF_WIDTH_MM - inset
        low = np.array([-_ENDLESS_MM, top + inset, middle - half_width])
        high = np.array([_ENDLESS_MM, top + _TABLE_MM - inset, middle + half_width])
        canvas.image[canvas.box(low, high)] = hu


def _depth_mm(
    canvas: Canvas, box: tuple[slice, slice, slice], centre: np.ndarray, radii: np.ndarray
) -> np.ndarray:
    """About how deep each voxel lies under the skin; negative outside the body."""
    ratio = ellipsoid_ratio(canvas, box, centre, radii)
    depth: np.ndarray = (1 - np.sqrt(ratio)) * float(radii[1:].min())
    return depth
