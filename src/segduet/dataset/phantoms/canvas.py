"""A noise-free CT slab in millimetres on which organs are painted, and how it becomes an image.

Arrays are zyx. Positions are in mm from the corner of the pancreas ROI, so the same anatomy can be
painted on the ROI alone or on a whole abdomen around it.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy import ndimage

from segduet.dataset.phantoms.fields import white_noise

AIR_HU = -1024.0
Triple = tuple[float, float, float]
Box = tuple[slice, slice, slice]

#: Standard deviation of the point spread function in voxels; mixes tissues at borders.
_PSF_SD_VOXELS = 0.55

#: Noise is left out where the noise-free image is air outside the body.
_BODY_ABOVE_HU = -900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Canvas:
    """Image and label map under construction; painting changes both arrays in place.

    Attributes:
        image: (Z, Y, X) float32, noise-free HU.
        label_map: (Z, Y, X) uint8.
        spacing_zyx_mm: voxel size.
        origin_zyx_mm: centre of the first voxel.
    """

    image: np.ndarray
    label_map: np.ndarray
    spacing_zyx_mm: Triple
    origin_zyx_mm: Triple

    @classmethod
    def blank(cls, shape_zyx: tuple[int, int, int], *, spacing: Triple, origin: Triple) -> Self:
        """A canvas of air with label 0; `spacing` and `origin` are zyx in mm."""
        return cls(
            image=np.full(shape_zyx, AIR_HU, np.float32),
            label_map=np.zeros(shape_zyx, np.uint8),
            spacing_zyx_mm=spacing,
            origin_zyx_mm=origin,
        )

    @property
    def voxel_volume_mm3(self) -> float:
        """Volume of one voxel."""
        return float(np.prod(self.spacing_zyx_mm))

    def box(self, low_mm: np.ndarray, high_mm: np.ndarray) -> Box:
        """The voxels between two corners, clipped to the canvas; may be empty."""
        corners = zip(
            self.image.shape, self.spacing_zyx_mm, self.origin_zyx_mm, low_mm, high_mm, strict=True
        )
        z, y, x = (
            slice(
                min(size, max(0, int(np.floor((low - first) / step)))),
                max(0, min(size, int(np.ceil((high - first) / step)) + 1)),
            )
            for size, step, first, low, high in corners
        )
        return (z, y, x)

    def near(self, points_mm: np.ndarray, margin_mm: float) -> np.ndarray:
        """Which of the (N, 3) points lie on the canvas or within a margin of it, (N,) bool."""
        first = np.array(self.origin_zyx_mm)
        last = first + (np.array(self.image.shape) - 1) * self.spacing_zyx_mm
        is_near: np.ndarray = np.all(
            (points_mm >= first - margin_mm) & (points_mm <= last + margin_mm), axis=1
        )
        return is_near

    def offsets(self, box: Box, centre_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Distance in mm of each voxel of the box from a point, as three broadcastable axes."""
        z, y, x = (
            (np.arange(s.start, s.stop, dtype=np.float32) * step + first - centre).astype(
                np.float32
            )
            for s, step, first, centre in zip(
                box, self.spacing_zyx_mm, self.origin_zyx_mm, centre_mm, strict=True
            )
        )
        return z[:, None, None], y[None, :, None], x[None, None, :]


def ellipsoid_ratio(canvas: Canvas, box: Box, centre: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Squared distance from an ellipsoid's centre in units of its radii; 1 on the surface."""
    z, y, x = canvas.offsets(box, centre)
    ratio: np.ndarray = (z / radii[0]) ** 2 + (y / radii[1]) ** 2 + (x / radii[2]) ** 2
    return ratio


def tube_ratio(
    canvas: Canvas, box: Box, points_mm: np.ndarray, radii_mm: np.ndarray, *, reach: float
) -> np.ndarray:
    """Distance from a curve in units of its local radius; 1 on the surface of the tube.

    Args:
        canvas: where the tube lies.
        box: voxels wanted.
        points_mm: (N, 3) dense points of the curve.
        radii_mm: (N,) radius at each point.
        reach: ratio up to which the answer is needed; farther voxels get `reach`.
    """
    squared = np.full([s.stop - s.start for s in box], reach**2, np.float32)
    corner = np.array([s.start for s in box])
    for point, radius in zip(points_mm, radii_mm, strict=True):
        around = canvas.box(point - reach * radius, point + reach * radius)
        inner = tuple(
            slice(max(0, a.start - c), max(0, min(a.stop, b.stop) - c))
            for a, b, c in zip(around, box, corner, strict=True)
        )
        part = squared[inner]
        if part.size:
            shifted = tuple(
                slice(s.start + c, s.start + c + n)
                for s, c, n in zip(inner, corner, part.shape, strict=True)
            )
            z, y, x = canvas.offsets((shifted[0], shifted[1], shifted[2]), point)
            np.minimum(part, (z * z + y * y + x * x) / radius**2, out=part)
    return np.sqrt(squared)


def lowest_voxels(field: np.ndarray, count: int) -> np.ndarray:
    """Mask of exactly `count` voxels with the smallest values (all voxels if there are fewer)."""
    count = min(count, field.size)
    chosen = np.argpartition(field, count - 1, axis=None)[:count]
    mask = np.zeros(field.size, bool)
    mask[chosen] = True
    return mask.reshape(field.shape)


def acquire(
    canvas: Canvas, *, noise_sd_hu: float, correlation_mm: float, rng: np.random.Generator
) -> np.ndarray:
    """Turns the noise-free canvas into what a scanner would show: blur, then correlated noise.

    Args:
        canvas: the painted anatomy; its image is used up as working memory.
        noise_sd_hu: standard deviation of the noise inside the body.
        correlation_mm: in-plane correlation length of the noise; slices are independent.
        rng: source of the noise.

    Returns:
        (Z, Y, X) int16 HU in [-1024, 3071]. Air outside the body stays exactly -1024.
    """
    image = canvas.image
    in_body = image > _BODY_ABOVE_HU
    ndimage.gaussian_filter(image, _PSF_SD_VOXELS, output=image, truncate=3.0)
    noise = white_noise(
        (image.shape[0], image.shape[1], image.shape[2]),
        smoothing_voxels=(0.0, *(correlation_mm / s for s in canvas.spacing_zyx_mm[1:])),
        rng=rng,
    )
    noise *= noise_sd_hu
    noise *= in_body
    image += noise
    np.clip(np.rint(image, out=image), AIR_HU, 3071, out=image)
    return image.astype(np.int16)
