"""Pancreas-like CT with a lesion whose subtype shows in texture and outline, not in volume (F11).

The model is described in docs/reference/phantoms.md. Deciding is apart from doing:
`draw_pancreas_parameters` draws the numbers of a case, `generate_pancreas_case` renders them.
"""

from dataclasses import dataclass

import numpy as np

from segduet.core.geometry import Geometry
from segduet.dataset.phantoms.anatomy import (
    FAT_HU,
    paint_pancreas,
    paint_splenic_vein,
    paint_surroundings,
    pancreas_curve,
    tilted,
)
from segduet.dataset.phantoms.canvas import Canvas, acquire
from segduet.dataset.phantoms.classes import check_class
from segduet.dataset.phantoms.fields import smooth_field
from segduet.dataset.phantoms.lesion import NUM_SUBTYPES, LesionLook, paint_lesion
from segduet.dataset.phantoms.parameters import (
    PancreasParameters,
    PancreasPhantomConfig,
    draw_pancreas_parameters,
)

__all__ = [
    "PancreasParameters",
    "PancreasPhantomConfig",
    "PhantomCase",
    "draw_pancreas_parameters",
    "generate_pancreas_case",
    "paint_case",
    "paint_fat",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class PhantomCase:
    """A generated case.

    Attributes:
        image: (Z, Y, X) int16 HU.
        label_map: (Z, Y, X) uint8: 0 background, 1 normal pancreas, 2 lesion; both occur.
        geometry: grid of both.
        subtype: 0, 1 or 2.
    """

    image: np.ndarray
    label_map: np.ndarray
    geometry: Geometry
    subtype: int


def generate_pancreas_case(
    config: PancreasPhantomConfig, *, subtype: int, seed: int
) -> PhantomCase:
    """Renders one case; the same config, subtype and seed give the same arrays bit for bit.

    Cases of one seed and different subtypes are twins: same anatomy, lesion volume, mean HU and
    noise, another look of the lesion.

    Raises:
        RequestError: the subtype is not 0, 1 or 2.
    """
    parameters = draw_pancreas_parameters(config, seed=seed)
    canvas = Canvas.blank(
        parameters.shape_zyx,
        spacing=parameters.spacing_zyx_mm,
        origin=(0.5 * parameters.spacing_zyx_mm[0], 0.5 * parameters.spacing_zyx_mm[1],
                0.5 * parameters.spacing_zyx_mm[2]),
    )  # fmt: skip
    paint_fat(canvas, np.random.default_rng(parameters.seeds[0]))
    return paint_case(canvas, config, parameters, subtype=subtype)


def paint_fat(canvas: Canvas, rng: np.random.Generator) -> None:
    """Fills the canvas with strands of fat around -90 HU."""
    shape = (canvas.image.shape[0], canvas.image.shape[1], canvas.image.shape[2])
    strands = smooth_field(shape, spacing_zyx_mm=canvas.spacing_zyx_mm, length_mm=8.0, rng=rng)
    np.multiply(strands, 10.0, out=canvas.image)
    canvas.image[...] += FAT_HU


def paint_case(
    canvas: Canvas,
    config: PancreasPhantomConfig,
    parameters: PancreasParameters,
    *,
    subtype: int,
) -> PhantomCase:
    """Paints organs, pancreas and lesion on a canvas that holds fat, and acquires the image.

    Raises:
        RequestError: the subtype is not 0, 1 or 2.
    """
    check_class(subtype, NUM_SUBTYPES, name="subtype")
    surroundings, organ, lesion, noise = parameters.seeds
    paint_surroundings(canvas, parameters.roi_mm, np.random.default_rng([surroundings, 1]))
    rng = np.random.default_rng(organ)
    curve = pancreas_curve(parameters.roi_mm, parameters.organ_mm3, rng)
    if config.tilt_sd_deg > 0:
        turn = float(np.random.default_rng([organ, 1]).normal())
        curve = tilted(curve, config.tilt_sd_deg * turn)
    paint_splenic_vein(canvas, curve, parameters.roi_mm, 155.0)
    paint_pancreas(
        canvas, curve, volume_mm3=parameters.organ_mm3, hu=parameters.parenchyma_hu,
        fat_share=config.fat_share, fat_plane_mm=config.fat_plane_mm, rng=rng,
    )  # fmt: skip
    centre = curve.points_mm[round(parameters.lesion_position * (len(curve.points_mm) - 1))]
    look = _look(config, parameters.lesion_hu, subtype)
    paint_lesion(canvas, centre_mm=centre, volume_mm3=parameters.lesion_mm3, look=look, seed=lesion)
    image = acquire(
        canvas, noise_sd_hu=config.noise_sd_hu, correlation_mm=config.noise_correlation_mm,
        rng=np.random.default_rng(noise),
    )  # fmt: skip
    return PhantomCase(
        image=image, label_map=canvas.label_map, geometry=_geometry(canvas), subtype=subtype
    )


def _look(config: PancreasPhantomConfig, mean_hu: float, subtype: int) -> LesionLook:
    cue = 1 - config.difficulty
    return LesionLook(
        subtype=subtype,
        shape_cue=cue if config.subtype_signal == "texture+shape" else 0.0,
        texture_cue=cue,
        mean_hu=mean_hu,
        texture_sd_hu=config.texture_sd_hu,
        wavelength_mm=config.texture_wavelength_mm,
    )


def _geometry(canvas: Canvas) -> Geometry:
    z, y, x = canvas.image.shape
    return Geometry(
        shape_zyx=(z, y, x),
        spacing_zyx_mm=canvas.spacing_zyx_mm,
        origin_xyz_mm=(
            canvas.origin_zyx_mm[2],
            canvas.origin_zyx_mm[1],
            canvas.origin_zyx_mm[0],
        ),
    )
