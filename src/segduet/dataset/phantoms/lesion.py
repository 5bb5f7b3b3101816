"""How a lesion looks: outline and texture depend on the subtype, volume and mean HU do not.

Subtype 0 is round and homogeneous, 1 lobulated and grainy, 2 spiculated with a bright rim and
septa. Each outline and texture is a mixture `cue * own + (1 - cue) * common`; at cue 0 the three
subtypes of one seed are the same image.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from segduet.dataset.phantoms.canvas import Box, Canvas, lowest_voxels
from segduet.dataset.phantoms.fields import band_texture

NUM_SUBTYPES = 3

#: Half-width of the box searched for the lesion, in radii of the ball of equal volume.
_REACH = 2.4


@dataclass(frozen=True, slots=True, kw_only=True)
class LesionLook:
    """Appearance of one lesion.

    Attributes:
        subtype: 0, 1 or 2.
        shape_cue: 0 (outline common to all subtypes) to 1 (outline of the subtype).
        texture_cue: 0 (texture common to all subtypes) to 1 (texture of the subtype).
        mean_hu: mean of the noise-free lesion.
        texture_sd_hu: standard deviation of the texture of subtypes 1 and 2 at cue 1.
        wavelength_mm: grain of subtype 1; rim and septa of subtype 2 are a third as thick.
    """

    subtype: int
    shape_cue: float
    texture_cue: float
    mean_hu: float
    texture_sd_hu: float
    wavelength_mm: float


@dataclass(frozen=True, slots=True)
class _Bumps:
    """Bumps on a sphere: how many, how high (share of the radius), how narrow."""

    number: int
    height: float
    sharpness: float


_OWN_BUMPS = (_Bumps(6, 0.04, 3.0), _Bumps(9, 0.45, 9.0), _Bumps(18, 0.75, 40.0))
_COMMON_BUMPS = _Bumps(7, 0.25, 7.0)
_OWN_TEXTURE = (0.0, 1.0, 1.0)
_COMMON_TEXTURE = 0.4


def paint_lesion(
    canvas: Canvas, *, centre_mm: np.ndarray, volume_mm3: float, look: LesionLook, seed: int
) -> None:
    """Paints a lesion of exactly the wanted volume (to the voxel, at least one) as label 2.

    Args:
        canvas: changed in place.
        centre_mm: (3,) centre of the lesion, zyx.
        volume_mm3: wanted volume, whatever the subtype.
        look: subtype and contrast.
        seed: of outline and texture; the same for all subtypes of a case.
    """
    shape_seed, texture_seed = np.random.SeedSequence(seed).spawn(2)
    reach = _REACH * np.cbrt(volume_mm3 * 0.75 / np.pi) + max(canvas.spacing_zyx_mm)
    box = canvas.box(centre_mm - reach, centre_mm + reach)
    ratio = _outline(canvas, box, centre_mm, look, np.random.default_rng(shape_seed))
    mask = lowest_voxels(ratio, max(1, round(volume_mm3 / canvas.voxel_volume_mm3)))
    texture = _texture(mask, canvas, look, texture_seed)
    canvas.label_map[box][mask] = 2
    canvas.image[box][mask] = look.mean_hu + look.texture_sd_hu * texture[mask]


def _outline(
    canvas: Canvas, box: Box, centre_mm: np.ndarray, look: LesionLook, rng: np.random.Generator
) -> np.ndarray:
    """Distance from the centre in units of the radius in that direction."""
    z, y, x = np.broadcast_arrays(*canvas.offsets(box, centre_mm))
    distance = np.sqrt(z * z + y * y + x * x) + np.float32(1e-3)
    directions = np.stack([z, y, x]) / distance
    # Every kind is drawn, so that subtypes of one seed share everything but their own kind
    bumps = [_bumps(directions, kind, rng) for kind in (*_OWN_BUMPS, _COMMON_BUMPS)]
    radius = 1 + look.shape_cue * bumps[look.subtype] + (1 - look.shape_cue) * bumps[-1]
    ratio: np.ndarray = distance / radius
    return ratio


def _bumps(directions: np.ndarray, kind: _Bumps, rng: np.random.Generator) -> np.ndarray:
    """Relief of the unit sphere: the highest of `number` bumps in random directions."""
    axes = rng.standard_normal((kind.number, 3)).astype(np.float32)
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    heights = kind.height * rng.uniform(0.6, 1.0, kind.number).astype(np.float32)
    relief = np.zeros(directions.shape[1:], np.float32)
    for axis, height in zip(axes, heights, strict=True):
        cosine = np.tensordot(axis, directions, axes=1)
        np.maximum(relief, height * np.exp(kind.sharpness * (cosine - 1)), out=relief)
    return relief


def _texture(
    mask: np.ndarray, canvas: Canvas, look: LesionLook, seed: np.random.SeedSequence
) -> np.ndarray:
    """Zero-mean texture inside the mask, in units of `texture_sd_hu`."""
    common_rng, grain_rng, cyst_rng = (np.random.default_rng(s) for s in seed.spawn(3))
    spacing = canvas.spacing_zyx_mm
    shape = (mask.shape[0], mask.shape[1], mask.shape[2])
    common = band_texture(
        shape, spacing_zyx_mm=spacing, wavelength_mm=2 * look.wavelength_mm, rng=common_rng
    )
    own = np.zeros(shape, np.float32)
    if look.subtype == 1:
        own = band_texture(
            shape, spacing_zyx_mm=spacing, wavelength_mm=look.wavelength_mm, rng=grain_rng
        )
    elif look.subtype == 2:
        own = _walls(mask, spacing, look.wavelength_mm / 3, cyst_rng)
    return _OWN_TEXTURE[look.subtype] * look.texture_cue * _standardised(own, mask) + (
        _COMMON_TEXTURE * (1 - look.texture_cue) * _standardised(common, mask)
    )


def _walls(
    mask: np.ndarray,
    spacing: tuple[float, float, float],
    thickness_mm: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """1 in the rim of the mask and in the septa between its cysts, 0 inside the cysts."""
    depth = ndimage.distance_transform_edt(np.pad(mask, 1), sampling=spacing)[1:-1, 1:-1, 1:-1]
    inside = np.argwhere(mask) * np.asarray(spacing)
    num_cysts = min(len(inside), int(rng.integers(3, 6)))
    cysts = inside[rng.choice(len(inside), num_cysts, replace=False)]
    walls = np.zeros(mask.shape, np.float32)
    walls[mask] = depth[mask] <= 1.5 * thickness_mm
    if num_cysts > 1:
        nearest = np.asarray(cKDTree(cysts).query(inside, k=2)[0])
        walls[mask] = np.maximum(walls[mask], nearest[:, 1] - nearest[:, 0] < thickness_mm)
    return walls


def _standardised(texture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Zero mean and unit standard deviation inside the mask; zero where the mask is uniform."""
    values = texture[mask]
    sd = float(values.std())
    result: np.ndarray = (texture - values.mean()) / sd if sd > 0 else np.zeros_like(texture)
    return result
