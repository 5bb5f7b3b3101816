"""An image with its place in space."""

from dataclasses import dataclass

import numpy as np

from segduet.core.geometry import Geometry


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """Channels of one image on one grid.

    Attributes:
        array: (C, Z, Y, X), any numeric dtype; a 2D image has Z = 1.
        geometry: the grid all channels share.
    """

    array: np.ndarray
    geometry: Geometry

    def __post_init__(self) -> None:
        assert self.array.ndim == 4, self.array.shape
        assert self.array.shape[1:] == self.geometry.shape_zyx, (
            self.array.shape,
            self.geometry.shape_zyx,
        )
