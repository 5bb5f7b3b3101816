"""Echo levels of a forearm cross-section: layers, muscle, bone, vessel, tendons and one nerve.

Arrays are (Y, X), depth first. Lengths are shares of the image height (depth and sizes) or width
(lateral positions); levels are in dB below the brightest echo.
"""

from dataclasses import dataclass

import numpy as np

from segduet.dataset.phantoms.canvas import lowest_voxels
from segduet.dataset.phantoms.fields import smooth_field

NERVE_CLASSES = ("medianus", "radialis", "ulnaris")

_SKIN_DB, _FAT_DB, _MUSCLE_DB, _FASCIA_DB, _BONE_DB = -10.0, -27.0, -24.0, -9.0, -4.0
_SHADOW_DB, _BLOOD_DB, _TENDON_DB = -42.0, -48.0, -13.0
_CONNECTIVE_DB, _FASCICLE_DB, _EPINEURIUM_DB = -12.0, -27.0, -7.0
_FASCICLE_SHARE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class NerveLook:
    """What tells one nerve from another.

    Attributes:
        num_fascicles: dark bundles inside the nerve.
        aspect: width over height.
        artery, near_bone, tendons: how likely the neighbour is.
    """

    num_fascicles: float
    aspect: float
    artery: float
    near_bone: float
    tendons: float

    def mixed(self, other: "NerveLook", cue: float) -> "NerveLook":
        """`cue` of this look and the rest of the other one."""
        return NerveLook(
            num_fascicles=cue * self.num_fascicles + (1 - cue) * other.num_fascicles,
            aspect=cue * self.aspect + (1 - cue) * other.aspect,
            artery=cue * self.artery + (1 - cue) * other.artery,
            near_bone=cue * self.near_bone + (1 - cue) * other.near_bone,
            tendons=cue * self.tendons + (1 - cue) * other.tendons,
        )


OWN_LOOKS = (
    NerveLook(num_fascicles=14, aspect=1.6, artery=0.1, near_bone=0.1, tendons=0.9),
    NerveLook(num_fascicles=3, aspect=2.4, artery=0.1, near_bone=0.9, tendons=0.1),
    NerveLook(num_fascicles=6, aspect=1.1, artery=0.9, near_bone=0.1, tendons=0.1),
)
COMMON_LOOK = NerveLook(num_fascicles=7, aspect=1.6, artery=0.4, near_bone=0.4, tendons=0.4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ellipse:
    """An ellipse in pixels: centre, half-axes before rotation, angle in radians."""

    y: float
    x: float
    half_height: float
    half_width: float
    angle: float

    def ratio(self, shape: tuple[int, int]) -> np.ndarray:
        """(Y, X) distance from the centre; 1 on the outline."""
        dy, dx = np.ogrid[: shape[0], : shape[1]]
        dy, dx = dy - self.y, dx - self.x
        along = dx * np.cos(self.angle) + dy * np.sin(self.angle)
        across = dy * np.cos(self.angle) - dx * np.sin(self.angle)
        ratio: np.ndarray = np.hypot(along / self.half_width, across / self.half_height)
        return ratio


def paint_layers(
    shape: tuple[int, int], *, fat_depth: float, rng: np.random.Generator
) -> np.ndarray:
    """Skin, fat with septa, two muscles with striation and the fasciae between them.

    Args:
        shape: image size.
        fat_depth: share of the height where the fat ends.
        rng: source of waves, septa and striation.

    Returns:
        (Y, X) float32 echo level in dB.
    """
    height, width = shape
    depth = np.arange(height, dtype=np.float32)[:, None] / height
    wave = _wave(width, 0.02, rng)
    level = np.where(depth < 0.04, _SKIN_DB, _FAT_DB) + 2.0 * _field(shape, 0.15, rng)
    _brighten(level, np.abs(_field(shape, 0.10, rng) + 6 * (depth - 0.15)) < 0.12, -17.0)
    angle = rng.uniform(-0.2, 0.2)
    lateral = np.arange(width, dtype=np.float32)[None, :] / height
    phase = (depth + angle * lateral) * 2 * np.pi * 32 + 2.0 * _field(shape, 0.25, rng)
    muscle = _MUSCLE_DB + 5.0 * np.cos(phase) + 2.0 * _field(shape, 0.12, rng)
    level = np.where(depth > fat_depth + wave, muscle, level)
    for fascia in (fat_depth, fat_depth + rng.uniform(0.24, 0.30)):
        near = np.abs(depth - fascia - wave) < 0.008
        _brighten(level, near, _FASCIA_DB)
    return level.astype(np.float32)


def paint_bone(level: np.ndarray, *, depth: float, lateral: float) -> None:
    """Paints a bright convex bone surface with a shadow below it, in place."""
    height, width = level.shape
    y = np.arange(height, dtype=np.float32)[:, None] / height
    x = np.arange(width, dtype=np.float32)[None, :] / width - lateral
    below = y - (depth + 1.2 * x**2)
    reach = np.abs(x) < 0.28
    level[(below > 0) & reach] = _SHADOW_DB
    level[(np.abs(below) < 0.012) & reach] = _BONE_DB


def paint_artery(level: np.ndarray, ellipse: Ellipse) -> None:
    """Paints an echo-free vessel with a bright wall and enhancement behind it, in place."""
    shape = (level.shape[0], level.shape[1])
    ratio = ellipse.ratio(shape)
    y, x = np.ogrid[: shape[0], : shape[1]]
    level[(y > ellipse.y) & (np.abs(x - ellipse.x) < 0.8 * ellipse.half_width)] += 4.0
    level[ratio < 1.15] = _FASCIA_DB
    level[ratio < 1] = _BLOOD_DB


def paint_tendon(level: np.ndarray, ellipse: Ellipse) -> None:
    """Paints a bright, finely striped tendon, in place."""
    inside = ellipse.ratio((level.shape[0], level.shape[1])) < 1
    rows = np.nonzero(inside)[0]
    level[inside] = _TENDON_DB + 3.0 * np.cos(2 * np.pi * rows / 4.0)


def paint_nerve(
    level: np.ndarray, ellipse: Ellipse, *, num_pixels: int, num_fascicles: int, seed: int
) -> np.ndarray:
    """Paints a nerve of exactly `num_pixels`, in place: bright tissue around dark fascicles.

    Returns:
        (Y, X) bool mask of the nerve.
    """
    rng = np.random.default_rng(seed)
    shape = (level.shape[0], level.shape[1])
    ratio = ellipse.ratio(shape) * (1 + 0.06 * np.clip(_field(shape, 0.10, rng), -2, 2))
    mask = lowest_voxels(ratio, num_pixels)
    edge = float(ratio[mask].max())
    level[mask] = _CONNECTIVE_DB
    radius = np.sqrt(_FASCICLE_SHARE * num_pixels / (np.pi * num_fascicles))
    core = np.argwhere(ratio < edge * 0.97 - radius / np.sqrt(num_pixels / np.pi))
    y, x = np.ogrid[: shape[0], : shape[1]]
    for centre in _spread(core, num_fascicles, rng):
        size = radius * rng.uniform(0.8, 1.1)
        inside = np.hypot(y - centre[0], x - centre[1]) < size
        level[inside & mask] = _FASCICLE_DB
    level[mask & (ratio > edge * 0.92)] = _EPINEURIUM_DB
    return mask


def _spread(pixels: np.ndarray, number: int, rng: np.random.Generator) -> np.ndarray:
    """Chooses pixels far from each other: each next one is the farthest from those chosen."""
    chosen = [pixels[rng.integers(len(pixels))]]
    distance = np.full(len(pixels), np.inf)
    for _ in range(number - 1):
        distance = np.minimum(distance, np.linalg.norm(pixels - chosen[-1], axis=1))
        chosen.append(pixels[int(np.argmax(distance))])
    return np.array(chosen)


def _brighten(level: np.ndarray, mask: np.ndarray, db: float) -> None:
    level[mask] = np.maximum(level[mask], db)


def _field(shape: tuple[int, int], length: float, rng: np.random.Generator) -> np.ndarray:
    height = shape[0]
    field = smooth_field(
        (1, *shape), spacing_zyx_mm=(1.0, 1.0, 1.0), length_mm=length * height, rng=rng
    )
    plane: np.ndarray = field[0]
    return plane


def _wave(width: int, height: float, rng: np.random.Generator) -> np.ndarray:
    """A slow lateral wave, (1, X), of about this amplitude."""
    x = np.arange(width) / width
    periods, phase = rng.uniform(0.5, 1.5), rng.uniform(0, 2 * np.pi)
    wave: np.ndarray = height * np.sin(2 * np.pi * periods * x + phase)[None, :]
    return wave
