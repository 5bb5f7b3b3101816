"""How far two outlines lie apart. Distances in mm; for a 2D image without a unit, in pixels.

Boundary rule: a voxel of the mask is on its surface if a face neighbour is not in the mask; beyond
the image is background. Surface points are voxel centres and count once each, whatever the spacing
(as in MetricsReloaded, MONAI and MedPy; DeepMind's surface-distance weighs marching-cubes elements
by their area instead, which differs most for small and thin regions).

Empty rule: both masks empty: undefined. Exactly one empty: no distance exists, so that distances
are undefined, and no point of the other surface is near: NSD is 0.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from segduet.core.scores import Score
from segduet.metrics.overlap import BOTH_EMPTY, PREDICTION_EMPTY, REFERENCE_EMPTY

#: Spacings in file headers are float32: 20 voxels of 0.1 mm are not exactly 2 mm.
_RELATIVE_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class SurfaceDistances:
    """From every surface point of either mask to the nearest one of the other, in mm.

    Attributes:
        of_reference: (P,) float64, one per surface voxel of the reference; infinite where the
            prediction is empty.
        of_prediction: (Q,) float64, one per surface voxel of the prediction; likewise.
    """

    of_reference: np.ndarray
    of_prediction: np.ndarray

    @property
    def why_undefined(self) -> str:
        """Why there are no distances; empty if there are."""
        match self.of_reference.size > 0, self.of_prediction.size > 0:
            case False, False:
                return BOTH_EMPTY
            case False, True:
                return REFERENCE_EMPTY
            case True, False:
                return PREDICTION_EMPTY
        return ""


def surface_distances(
    reference: np.ndarray, prediction: np.ndarray, *, spacing_mm: tuple[float, ...]
) -> SurfaceDistances:
    """Measures both surfaces once, for all the numbers below.

    Args:
        reference: (Z, Y, X) bool, or (Y, X) of a 2D image, whose surface is its outline in the
            plane; as (1, Y, X) every voxel would be surface.
        prediction: same shape, bool.
        spacing_mm: one per axis, > 0.
    """
    assert reference.shape == prediction.shape, (reference.shape, prediction.shape)
    assert reference.ndim == len(spacing_mm), (reference.shape, spacing_mm)
    box = union_box(reference, prediction)
    surfaces = _surface(reference[box]), _surface(prediction[box])
    return SurfaceDistances(
        of_reference=_distances(*surfaces, spacing_mm),
        of_prediction=_distances(*surfaces[::-1], spacing_mm),
    )


def nsd(distances: SurfaceDistances, *, tolerance_mm: float) -> Score:
    """Normalised surface distance: share of both surfaces within the tolerance, in [0, 1].

    Both masks empty: undefined. Exactly one mask empty: 0.

    Args:
        distances: of the pair.
        tolerance_mm: >= 0; what is exactly this far counts as near.

    Source: Nikolov et al. (2021), doi:10.2196/26151; on voxels, as Maier-Hein et al. (2024),
        doi:10.1038/s41592-023-02151-z.
    """
    pooled = _pooled(distances)
    if pooled.size == 0:
        return Score(value=None, reason=BOTH_EMPTY)
    is_near = pooled <= tolerance_mm * (1 + _RELATIVE_ROUNDING)
    return Score(value=float(is_near.mean()))


def hd_mm(distances: SurfaceDistances) -> Score:
    """Hausdorff distance: from the most remote surface point to the other surface, in mm.

    Undefined where either mask is empty. One stray voxel decides it; see `hd95_mm`.

    Args:
        distances: of the pair.

    Source: Huttenlocher et al. (1993), doi:10.1109/34.232073.
    """
    return _larger(distances, lambda of_one: float(of_one.max()))


def hd95_mm(distances: SurfaceDistances) -> Score:
    """Hausdorff distance without the farthest 5 % of either surface, in mm.

    The larger of the two directions' 95th percentiles (linear interpolation), as MetricsReloaded
    and MONAI; MedPy takes one percentile of both directions together, which hides what is wrong in
    one direction only. Undefined where either mask is empty.

    Args:
        distances: of the pair.

    Source: Huttenlocher et al. (1993), doi:10.1109/34.232073; Maier-Hein et al. (2024),
        doi:10.1038/s41592-023-02151-z.
    """
    return _larger(distances, lambda of_one: float(np.percentile(of_one, 95)))


def assd_mm(distances: SurfaceDistances) -> Score:
    """Average symmetric surface distance: mean over the points of both surfaces, in mm.

    The larger surface weighs more; `masd_mm` weighs both alike. Undefined where either mask is
    empty.

    Args:
        distances: of the pair.

    Source: Yeghiazaryan and Voiculescu (2018), doi:10.1117/1.JMI.5.1.015006.
    """
    if distances.why_undefined:
        return Score(value=None, reason=distances.why_undefined)
    return Score(value=float(_pooled(distances).mean()))


def masd_mm(distances: SurfaceDistances) -> Score:
    """Mean average surface distance: mean of the two directions' means, in mm.

    Undefined where either mask is empty.

    Args:
        distances: of the pair.

    Source: Maier-Hein et al. (2024), doi:10.1038/s41592-023-02151-z.
    """
    if distances.why_undefined:
        return Score(value=None, reason=distances.why_undefined)
    means = distances.of_reference.mean(), distances.of_prediction.mean()
    return Score(value=float(np.mean(means)))


def union_box(reference: np.ndarray, prediction: np.ndarray) -> tuple[slice, ...]:
    """The smallest box with all of both masks, one slice per axis; empty if both masks are.

    Args:
        reference: any shape and dtype; what is not 0 counts.
        prediction: same shape.
    """
    rest = (reference != 0) | (prediction != 0)
    box = []
    for _ in range(rest.ndim):
        hit = np.flatnonzero(rest.any(axis=tuple(range(1, rest.ndim))))
        box.append(slice(int(hit[0]), int(hit[-1]) + 1) if hit.size else slice(0))
        rest = rest.any(axis=0)  # the next axis leads, in less and less to look at
    return tuple(box)


def _surface(mask: np.ndarray) -> np.ndarray:
    """The voxels of a mask with a face neighbour outside it or beyond the array."""
    padded = np.pad(mask, 1)
    inner = mask.copy()
    for axis in range(mask.ndim):
        for shift in (0, 2):
            window = [slice(1, -1)] * mask.ndim
            window[axis] = slice(shift, shift + mask.shape[axis])
            inner &= padded[tuple(window)]
    surface: np.ndarray = mask & ~inner
    return surface


def _distances(surface: np.ndarray, other: np.ndarray, spacing_mm: tuple[float, ...]) -> np.ndarray:
    """From every point of a surface to the nearest of the other: (P,) float64, inf without any."""
    from scipy.spatial import KDTree  # which overlaps and volumes need not wait for

    is_apart = ~other[surface]  # the rest are points of both surfaces
    distances = np.zeros(is_apart.size)
    spacing = np.asarray(spacing_mm)
    # for a single query a tree that is quick to build beats one that is well balanced
    tree = KDTree(
        np.argwhere(other) * spacing, leafsize=32, balanced_tree=False, compact_nodes=False
    )
    distances[is_apart], _ = tree.query(np.argwhere(surface & ~other) * spacing)
    return distances


def _pooled(distances: SurfaceDistances) -> np.ndarray:
    return np.concatenate([distances.of_reference, distances.of_prediction])


def _larger(distances: SurfaceDistances, of_one: Callable[[np.ndarray], float]) -> Score:
    """The larger of both directions' figures."""
    if distances.why_undefined:
        return Score(value=None, reason=distances.why_undefined)
    return Score(value=max(of_one(distances.of_reference), of_one(distances.of_prediction)))
