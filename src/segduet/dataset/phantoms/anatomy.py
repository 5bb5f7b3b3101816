"""Where organs lie around the pancreas, and how they are painted.

Positions and sizes are shares of the pancreas ROI along z (upwards), y (backwards), x (to the
patient's left), so one table serves the ROI and the whole abdomen around it; shares below 0 or
above 1 lie outside the ROI. HU values are those of a portal-venous CT.
"""

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline

from segduet.dataset.phantoms.canvas import (
    Canvas,
    Triple,
    ellipsoid_ratio,
    lowest_voxels,
    tube_ratio,
)
from segduet.dataset.phantoms.fields import smooth_field

FAT_HU = -90.0


@dataclass(frozen=True, slots=True)
class Organ:
    """An ellipsoidal organ: wall, and content inside `content_share` of its radii."""

    centre: Triple
    radii: Triple
    hu: float
    content_hu: float = 0.0
    content_share: float = 0.0


@dataclass(frozen=True, slots=True)
class Vessel:
    """A tube along points; radius as a share of the ROI's x extent."""

    points: tuple[Triple, ...]
    radius: float
    hu: float


_ORGANS = (
    Organ((0.95, 0.27, -0.16), (0.80, 0.64, 0.45), 105),  # liver
    Organ((1.00, 0.82, 1.28), (0.50, 0.40, 0.27), 118),  # spleen
    Organ((0.35, 1.12, 0.00), (0.50, 0.32, 0.21), 155),  # right kidney
    Organ((0.50, 1.12, 0.98), (0.50, 0.32, 0.21), 155),  # left kidney
    Organ((1.00, 0.00, 0.80), (0.42, 0.33, 0.50), 75, 25, 0.82),  # stomach
    Organ((-0.25, 0.00, 0.95), (0.22, 0.30, 0.40), 70, 40, 0.75),  # jejunum
    Organ((-0.10, -0.15, 0.30), (0.20, 0.25, 0.55), 65, -300, 0.60),  # transverse colon with gas
    Organ((-0.40, 0.60, -0.40), (0.60, 0.28, 0.22), 65, 20, 0.75),  # ascending colon
    Organ((-0.30, 0.75, 1.45), (0.80, 0.24, 0.18), 65, 20, 0.75),  # descending colon
)
_VERTEBRA = Organ((0.50, 1.30, 0.50), (9.0, 0.32, 0.19), 300, 180, 0.85)
_DUODENUM = Vessel(
    ((0.72, 0.42, 0.20), (0.60, 0.52, 0.05), (0.35, 0.62, 0.04), (0.12, 0.68, 0.15),
     (0.06, 0.70, 0.45)), 0.075, 60,
)  # fmt: skip
_VESSELS = (
    Vessel(((-9.0, 0.93, 0.56), (9.0, 0.93, 0.56)), 0.075, 165),  # aorta
    Vessel(((-9.0, 0.88, 0.36), (9.0, 0.88, 0.36)), 0.080, 130),  # inferior vena cava
    Vessel(((-0.60, 0.50, 0.44), (0.30, 0.52, 0.42), (0.60, 0.52, 0.40)), 0.045, 150),  # SMV
    Vessel(((-0.60, 0.62, 0.52), (0.50, 0.68, 0.52), (0.62, 0.90, 0.55)), 0.028, 165),  # SMA
    Vessel(((0.60, 0.52, 0.40), (0.85, 0.48, 0.22), (1.10, 0.40, -0.05)), 0.050, 150),  # portal
)
#: Uncinate process, head, neck, body, tail: z, y, x, radius relative to the mean.
_PANCREAS = np.array(
    [
        [0.20, 0.62, 0.30, 0.70],
        [0.36, 0.54, 0.21, 1.20],
        [0.52, 0.40, 0.33, 0.95],
        [0.58, 0.33, 0.48, 0.85],
        [0.64, 0.42, 0.66, 0.95],
        [0.72, 0.58, 0.80, 0.90],
        [0.80, 0.70, 0.90, 0.65],
    ]
)
_NUM_CURVE_POINTS = 60
_TUBE_REACH = 2.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Centre line of the pancreas.

    Attributes:
        points_mm: (N, 3) zyx from the ROI corner, head to tail.
        radii_mm: (N,) radius that gives about the wanted volume.
    """

    points_mm: np.ndarray
    radii_mm: np.ndarray


def pancreas_curve(roi_mm: np.ndarray, volume_mm3: float, rng: np.random.Generator) -> Curve:
    """Draws a curved centre line through jittered head, neck, body and tail.

    Args:
        roi_mm: (3,) extent of the ROI.
        volume_mm3: wanted volume of the organ; sets the mean radius.
        rng: source of the jitter (3 % of the ROI per point, 10 % of each radius).
    """
    knots = _PANCREAS.copy()
    knots[:, :3] += 0.03 * rng.standard_normal((len(knots), 3))
    knots[:, 3] *= np.exp(0.10 * rng.standard_normal(len(knots)))
    dense = CubicSpline(np.arange(len(knots)), knots)(
        np.linspace(0, len(knots) - 1, _NUM_CURVE_POINTS)
    )
    points = dense[:, :3] * roi_mm
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    tube_volume = np.pi * (steps * dense[1:, 3] ** 2).sum()
    return Curve(points_mm=points, radii_mm=dense[:, 3] * np.sqrt(volume_mm3 / tube_volume))


def tilted(curve: Curve, degrees: float) -> Curve:
    """The centre line, turned about its middle in the coronal plane; positive lifts the tail."""
    middle = curve.points_mm.mean(axis=0)
    z, y, x = (curve.points_mm - middle).T
    cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    turned = np.stack([cosine * z + sine * x, y, cosine * x - sine * z], axis=1)
    return Curve(points_mm=turned + middle, radii_mm=curve.radii_mm)


def paint_surroundings(canvas: Canvas, roi_mm: np.ndarray, rng: np.random.Generator) -> None:
    """Paints every neighbouring organ and vessel that reaches into the canvas.

    The canvas should hold fat (and, for an abdomen, air and body wall) already. Organs move by
    4 % of the ROI, their sizes vary by 8 %, their HU by 12.
    """
    warp_seed = int(rng.integers(2**63))
    for organ in (*_ORGANS, _VERTEBRA, *_bowel_loops(rng)):
        _paint_organ(canvas, _moved(organ, rng), roi_mm, warp_seed)
    for vessel in (_DUODENUM, *_VESSELS):
        jitter = 0.02 * rng.standard_normal(3)
        points = (np.array(vessel.points) + jitter) * roi_mm
        _paint_tube(canvas, points, vessel.radius * roi_mm[2], vessel.hu + 12 * rng.normal())


def paint_pancreas(
    canvas: Canvas,
    curve: Curve,
    *,
    volume_mm3: float,
    hu: float,
    fat_share: float,
    fat_plane_mm: float,
    rng: np.random.Generator,
) -> None:
    """Paints the organ with exactly the wanted volume (to the voxel) as label 1.

    Args:
        canvas: changed in place.
        curve: centre line.
        volume_mm3: volume of the organ.
        hu: of parenchyma without fat.
        fat_share: mean share of fat between the lobules.
        fat_plane_mm: mean width of the fat that separates the organ from its neighbours; it
            varies between none and twice as much along the surface.
        rng: source of surface and lobules.
    """
    reach = _TUBE_REACH * float(curve.radii_mm.max())
    box = canvas.box(curve.points_mm.min(axis=0) - reach, curve.points_mm.max(axis=0) + reach)
    ratio = tube_ratio(canvas, box, curve.points_mm, curve.radii_mm, reach=_TUBE_REACH)
    shape = (ratio.shape[0], ratio.shape[1], ratio.shape[2])
    spacing = canvas.spacing_zyx_mm
    surface, plane, lobules = (
        smooth_field(shape, spacing_zyx_mm=spacing, length_mm=length, rng=rng)
        for length in (12.0, 20.0, 5.0)
    )
    ratio *= 1 + 0.10 * np.clip(surface, -2.5, 2.5)
    mask = lowest_voxels(ratio, round(volume_mm3 / canvas.voxel_volume_mm3))
    edge = float(ratio[mask].max())
    gap = fat_plane_mm / float(curve.radii_mm.mean()) * np.clip(1 + plane, 0, 2)
    image = canvas.image[box]
    image[ratio < edge + gap] = FAT_HU
    fat = np.clip(fat_share * (1 + lobules), 0, 0.8)[mask]
    image[mask] = hu + fat * (FAT_HU - hu)
    canvas.label_map[box][mask] = 1


def paint_splenic_vein(canvas: Canvas, curve: Curve, roi_mm: np.ndarray, hu: float) -> None:
    """Paints the vein behind body and tail; call before the pancreas, which covers part of it."""
    behind = curve.points_mm[_NUM_CURVE_POINTS // 2 :].copy()
    behind[:, 1] += 0.85 * curve.radii_mm[_NUM_CURVE_POINTS // 2 :]
    _paint_tube(canvas, behind, 0.028 * roi_mm[2], hu)


def _moved(organ: Organ, rng: np.random.Generator) -> Organ:
    z, y, x = np.array(organ.centre) + 0.04 * rng.standard_normal(3)
    rz, ry, rx = np.array(organ.radii) * np.exp(0.08 * rng.standard_normal(3))
    shift = 12 * rng.normal()
    return Organ(
        (z, y, x), (rz, ry, rx), organ.hu + shift, organ.content_hu + shift, organ.content_share
    )


def _bowel_loops(rng: np.random.Generator) -> list[Organ]:
    """Six to ten loops in front of and below the pancreas, filled with fluid or contrast."""
    loops = []
    for _ in range(int(rng.integers(6, 11))):
        z, y, x = rng.uniform((-0.5, -0.2, 0.0), (0.6, 0.35, 1.1))
        rz, ry, rx = rng.uniform((0.08, 0.10, 0.07), (0.16, 0.20, 0.16))
        loops.append(Organ((z, y, x), (rz, ry, rx), 80, float(rng.uniform(5, 110)), 0.75))
    return loops


def _paint_organ(canvas: Canvas, organ: Organ, roi_mm: np.ndarray, warp_seed: int) -> None:
    centre, radii = np.array(organ.centre) * roi_mm, np.array(organ.radii) * roi_mm
    box = canvas.box(centre - 1.3 * radii, centre + 1.3 * radii)
    image = canvas.image[box]
    if image.size == 0:
        return
    ratio = ellipsoid_ratio(canvas, box, centre, radii)
    warp = smooth_field(
        (ratio.shape[0], ratio.shape[1], ratio.shape[2]),
        spacing_zyx_mm=canvas.spacing_zyx_mm,
        length_mm=0.7 * float(radii[1:].min()),
        rng=np.random.default_rng(warp_seed),
    )
    ratio *= 1 + 0.12 * np.clip(warp, -2.5, 2.5)
    image[ratio < 1] = organ.hu
    if organ.content_share > 0:
        image[ratio < organ.content_share**2] = organ.content_hu


def _paint_tube(canvas: Canvas, points_mm: np.ndarray, radius_mm: float, hu: float) -> None:
    length = np.arange(len(points_mm))
    steps = np.linalg.norm(np.diff(points_mm, axis=0), axis=1).sum() / (0.4 * radius_mm)
    dense = np.stack(
        [np.interp(np.linspace(0, length[-1], int(steps) + 2), length, p) for p in points_mm.T],
        axis=1,
    )
    dense = dense[canvas.near(dense, 2 * radius_mm)]
    if len(dense):
        box = canvas.box(dense.min(axis=0) - radius_mm, dense.max(axis=0) + radius_mm)
        ratio = tube_ratio(canvas, box, dense, np.full(len(dense), radius_mm), reach=1.2)
        canvas.image[box][ratio < 1] = hu
