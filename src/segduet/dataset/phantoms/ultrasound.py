"""Nerve-like ultrasound with speckle; the class shows in fascicles, shape and neighbours (F11)."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy import ndimage

from segduet.core.errors import RequestError
from segduet.dataset.phantoms.classes import check_class
from segduet.dataset.phantoms.nerve import (
    COMMON_LOOK,
    NERVE_CLASSES,
    OWN_LOOKS,
    Ellipse,
    NerveLook,
    paint_artery,
    paint_bone,
    paint_layers,
    paint_nerve,
    paint_tendon,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NerveUltrasoundConfig:
    """Parameters of the nerve phantom.

    Attributes:
        shape_yx: image size in pixels.
        nerve_share: median share of the image that is nerve, the same for all classes.
        nerve_log_sd: standard deviation of the log of that share.
        difficulty: 0 (class fully visible) to 1 (classes of one seed are the same image).
        attenuation_db: loss from the top to the bottom that gain does not make up for.
        dynamic_range_db: from black to white.
        speckle_axial_px, speckle_lateral_px: standard deviation of the point spread function.
        style_spread: how much patients differ in gain, attenuation, speckle size and fat; 0 = not.

    Raises:
        RequestError: difficulty is outside [0, 1], or nerve_share outside (0, 0.2].
    """

    shape_yx: tuple[int, int] = (256, 256)
    nerve_share: float = 0.03
    nerve_log_sd: float = 0.25
    difficulty: float = 0.4
    attenuation_db: float = 12.0
    dynamic_range_db: float = 55.0
    speckle_axial_px: float = 0.8
    speckle_lateral_px: float = 1.8
    style_spread: float = 1.0

    def __post_init__(self) -> None:
        if not (0 <= self.difficulty <= 1 and 0 < self.nerve_share <= 0.2):
            raise RequestError(
                "nerve phantom",
                found=f"difficulty {self.difficulty} and nerve_share {self.nerve_share}",
                expected="difficulty from 0 to 1, nerve_share above 0 and up to 0.2",
                remedy="Correct the parameters.",
            )

    @classmethod
    def demo(cls) -> Self:
        """Small images with a large nerve, learnt in minutes on a CPU."""
        return cls(
            shape_yx=(128, 128),
            nerve_share=0.06,
            difficulty=0.1,
            speckle_axial_px=0.5,
            speckle_lateral_px=1.0,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientStyle:
    """What all images of a patient share.

    Attributes:
        gain_db: brightness of the whole image.
        attenuation_db: loss from top to bottom.
        speckle_scale: factor on the speckle size.
        fat_depth: share of the image height that is skin and fat.
    """

    gain_db: float
    attenuation_db: float
    speckle_scale: float
    fat_depth: float


@dataclass(frozen=True, slots=True, kw_only=True)
class UltrasoundPhantom:
    """A generated image.

    Attributes:
        image: (Y, X) uint8.
        mask: (Y, X) uint8, 1 in the nerve; never empty.
        nerve_class: 0 medianus, 1 radialis, 2 ulnaris.
    """

    image: np.ndarray
    mask: np.ndarray
    nerve_class: int


def draw_patient_style(config: NerveUltrasoundConfig, *, seed: int) -> PatientStyle:
    """Draws what the images of one patient have in common."""
    spread = config.style_spread * np.random.default_rng([seed, 2]).standard_normal(4)
    return PatientStyle(
        gain_db=2.0 * float(spread[0]),
        attenuation_db=max(0.0, config.attenuation_db + 2.5 * float(spread[1])),
        speckle_scale=float(np.exp(0.12 * spread[2])),
        fat_depth=float(np.clip(0.20 + 0.03 * spread[3], 0.12, 0.28)),
    )


def generate_nerve_case(
    config: NerveUltrasoundConfig,
    *,
    nerve_class: int,
    seed: int,
    style: PatientStyle | None = None,
) -> UltrasoundPhantom:
    """Renders one image; the same arguments give the same arrays bit for bit.

    Args:
        config: parameters.
        nerve_class: 0 medianus, 1 radialis, 2 ulnaris.
        seed: of everything random; nerve area and position do not depend on the class.
        style: of the patient; drawn from the seed where None, so every image is a new patient.

    Raises:
        RequestError: the class is not 0, 1 or 2.
    """
    check_class(nerve_class, len(NERVE_CLASSES), name="nerve class")
    style = style or draw_patient_style(config, seed=seed)
    look = OWN_LOOKS[nerve_class].mixed(COMMON_LOOK, 1 - config.difficulty)
    layers, scene, speckle = np.random.SeedSequence(seed).spawn(3)
    level = paint_layers(
        config.shape_yx, fat_depth=style.fat_depth, rng=np.random.default_rng(layers)
    )
    mask = _paint_scene(level, config, look, style, np.random.default_rng(scene))
    image = _acquire(level, config, style, np.random.default_rng(speckle))
    return UltrasoundPhantom(image=image, mask=mask.astype(np.uint8), nerve_class=nerve_class)


def nerve_pixels(config: NerveUltrasoundConfig, rng: np.random.Generator) -> int:
    """Draws the area of a nerve in pixels; it does not depend on the class."""
    share = config.nerve_share * np.exp(config.nerve_log_sd * rng.normal())
    return max(16, round(float(share) * config.shape_yx[0] * config.shape_yx[1]))


def _paint_scene(
    level: np.ndarray,
    config: NerveUltrasoundConfig,
    look: NerveLook,
    style: PatientStyle,
    rng: np.random.Generator,
) -> np.ndarray:
    """Paints the neighbours, then the nerve; every number is drawn whether it is used or not."""
    height, width = config.shape_yx
    num_pixels = nerve_pixels(config, rng)
    y = height * (style.fat_depth + rng.uniform(0.24, 0.34))
    x = width * rng.uniform(0.35, 0.65)
    has_artery, is_near_bone, has_tendons = rng.uniform(size=3) < (
        look.artery,
        look.near_bone,
        look.tendons,
    )
    side = rng.choice([-1.0, 1.0])
    size, deep = np.sqrt(num_pixels / np.pi), rng.uniform(0.86, 0.93)
    nerve = _ellipse(y, x, size, look.aspect * np.exp(0.08 * rng.normal()), 0.2 * rng.normal())
    lateral = x / width + 0.08 * rng.normal()
    near = (nerve.y + 1.5 * nerve.half_height) / height
    paint_bone(level, depth=near if is_near_bone else deep, lateral=lateral)
    if has_artery:
        paint_artery(
            level, _ellipse(y, x + side * (nerve.half_width + 0.9 * size), 0.6 * size, 1.0, 0.0)
        )
    if has_tendons:
        for shift in (-1.0, 0.9):
            paint_tendon(
                level, _ellipse(y - 1.9 * size, x + shift * 1.3 * size, 0.55 * size, 1.5, 0.0)
            )
    return paint_nerve(
        level, nerve, num_pixels=num_pixels, num_fascicles=round(look.num_fascicles),
        seed=int(rng.integers(2**63)),
    )  # fmt: skip


def _ellipse(y: float, x: float, size: float, aspect: float, angle: float) -> Ellipse:
    """An ellipse with the area of a disk of radius `size`."""
    return Ellipse(
        y=y,
        x=x,
        half_height=size / float(np.sqrt(aspect)),
        half_width=size * float(np.sqrt(aspect)),
        angle=angle,
    )


def _acquire(
    level: np.ndarray,
    config: NerveUltrasoundConfig,
    style: PatientStyle,
    rng: np.random.Generator,
) -> np.ndarray:
    """Speckle (Rayleigh amplitude, fully developed), attenuation and log compression to uint8."""
    speckle = rayleigh_speckle(
        config.shape_yx,
        style.speckle_scale * config.speckle_axial_px,
        style.speckle_scale * config.speckle_lateral_px,
        rng,
    )
    depth = np.linspace(0, 1, level.shape[0])[:, None]
    soft = ndimage.gaussian_filter(level, (0.5, 0.8))
    echo_db = soft + 20 * np.log10(speckle + 1e-3) + style.gain_db - style.attenuation_db * depth
    grey = 255 * (1 + echo_db / config.dynamic_range_db)
    image: np.ndarray = np.clip(np.rint(grey), 0, 255).astype(np.uint8)
    return image


def rayleigh_speckle(
    shape: tuple[int, int], axial: float, lateral: float, rng: np.random.Generator
) -> np.ndarray:
    """Rayleigh-distributed amplitude with mean square 1, (Y, X)."""
    real, imaginary = (
        ndimage.gaussian_filter(rng.standard_normal(shape), (axial, lateral), mode="wrap")
        for _ in range(2)
    )
    amplitude: np.ndarray = np.hypot(real, imaginary)
    amplitude /= np.sqrt(np.mean(amplitude**2))
    return amplitude
