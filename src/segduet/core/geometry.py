"""Where an image lies in space; arrays are zyx, physical points and directions are xyz."""

from dataclasses import dataclass, field

import numpy as np

IDENTITY_DIRECTION = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)

#: nnU-Net's convention for a 2D image: one slice, "very thick", one unit per pixel.
SPACING_2D_ZYX_MM = (999.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """Grid of an image: shape, spacing, origin and axis directions (ITK, LPS).

    A 2D image has `num_spatial_dims == 2`, one slice, and no physical unit: its spacing is
    `SPACING_2D_ZYX_MM` as in nnU-Net, and millimetres mean pixels.

    Attributes:
        shape_zyx: voxels along z, y, x; all > 0.
        spacing_zyx_mm: distance between voxel centres; all > 0 and finite.
        origin_xyz_mm: centre of the first voxel.
        direction_xyz: row-major 3 x 3 direction cosines, as ITK gives them.
        num_spatial_dims: 2 or 3.
    """

    shape_zyx: tuple[int, int, int]
    spacing_zyx_mm: tuple[float, float, float]
    origin_xyz_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    direction_xyz: tuple[float, ...] = field(default=IDENTITY_DIRECTION)
    num_spatial_dims: int = 3

    def __post_init__(self) -> None:
        assert len(self.shape_zyx) == 3, self.shape_zyx
        assert all(n > 0 for n in self.shape_zyx), self.shape_zyx
        assert all(np.isfinite(s) and s > 0 for s in self.spacing_zyx_mm), self.spacing_zyx_mm
        assert len(self.direction_xyz) == 9
        assert self.num_spatial_dims == 3 or (self.num_spatial_dims, self.shape_zyx[0]) == (2, 1)

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel in millilitres (for a 2D image: its area in pixels / 1000)."""
        spacing = self.spacing_zyx_mm if self.num_spatial_dims == 3 else self.spacing_zyx_mm[1:]
        return float(np.prod(spacing)) / 1000.0

    def differences(self, other: "Geometry", *, tolerance_mm: float = 1e-3) -> list[str]:
        """Names of what differs from `other`: any of shape, spacing, origin, direction.

        Spacing and origin are compared within `tolerance_mm`, direction cosines within 1e-3
        (headers store them as float32).
        """
        found = [] if self.shape_zyx == other.shape_zyx else ["shape"]
        pairs = (
            ("spacing", self.spacing_zyx_mm, other.spacing_zyx_mm, tolerance_mm),
            ("origin", self.origin_xyz_mm, other.origin_xyz_mm, tolerance_mm),
            ("direction", self.direction_xyz, other.direction_xyz, 1e-3),
        )
        close = ((name, np.allclose(a, b, rtol=0, atol=atol)) for name, a, b, atol in pairs)
        return found + [name for name, is_close in close if not is_close]
