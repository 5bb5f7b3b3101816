"""The numbers of the pancreas phantom: its configuration, and what is drawn for one case."""

from dataclasses import dataclass
from typing import Literal, Self

import numpy as np

from segduet.core.errors import RequestError
from segduet.dataset.phantoms.anatomy import FAT_HU
from segduet.dataset.phantoms.canvas import Triple

SubtypeSignal = Literal["texture+shape", "texture"]
Quantiles = tuple[float, float, float, float, float, float, float]

_QUANTILE_LEVELS = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class PancreasPhantomConfig:
    """Parameters of the pancreas phantom; `quiz()` and `demo()` are the two presets.

    Attributes:
        spacing_z_mm: quantiles (0, 5, 25, 50, 75, 95, 100 %) of the slice distance.
        spacing_inplane_mm: the same quantiles of the pixel size.
        extent_zyx_mm: median extent of the ROI.
        extent_log_sd: standard deviation of the log of each extent.
        extent_z_power: the z extent grows with this power of the slice distance.
        min_shape_zyx, max_shape_zyx: limits of the array size.
        organ_share: median share of the ROI that is organ (before the lesion bulges out of it).
        lesion_share: median share of the ROI that is lesion.
        lesion_log_sd: standard deviation of the log of the lesion share.
        tiny_lesion_probability: share of cases with a lesion of 0.001 to 0.05 % of the ROI.
        max_lesion_share: larger lesions are cut to this share.
        difficulty: 0 (subtype fully visible) to 1 (subtypes of one seed are the same image).
        subtype_signal: "texture" gives all subtypes the same outline.
        lesion_contrast_hu: mean lesion minus mean of the organ; varies by 25 % between cases.
        texture_sd_hu: standard deviation of the lesion texture of subtypes 1 and 2.
        texture_wavelength_mm: grain of that texture.
        noise_sd_hu: image noise.
        noise_correlation_mm: in-plane correlation length of the noise.
        parenchyma_hu, parenchyma_sd_hu: mean and between-case spread of the organ.
        fat_share: mean share of fat between the lobules of the organ.
        fat_plane_mm: mean width of the fat around the organ.
        tilt_sd_deg: between-case spread of how the organ is turned in the coronal plane.

    Raises:
        RequestError: difficulty is outside [0, 1], or a lesion could exceed the ROI.
    """

    spacing_z_mm: Quantiles
    spacing_inplane_mm: Quantiles
    extent_zyx_mm: Triple
    extent_log_sd: Triple
    extent_z_power: float
    min_shape_zyx: tuple[int, int, int]
    max_shape_zyx: tuple[int, int, int]
    organ_share: float
    lesion_share: float
    lesion_log_sd: float
    tiny_lesion_probability: float
    max_lesion_share: float
    difficulty: float
    subtype_signal: SubtypeSignal = "texture+shape"
    lesion_contrast_hu: float = -40.0
    texture_sd_hu: float
    texture_wavelength_mm: float
    noise_sd_hu: float
    noise_correlation_mm: float
    parenchyma_hu: float
    parenchyma_sd_hu: float
    fat_share: float
    fat_plane_mm: float
    tilt_sd_deg: float = 0.0

    def __post_init__(self) -> None:
        for name in ("difficulty", "organ_share", "lesion_share", "max_lesion_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise RequestError(
                    f"phantom parameter {name}",
                    found=repr(getattr(self, name)),
                    expected="a number from 0 to 1",
                    remedy="Correct the parameter.",
                )

    @classmethod
    def quiz(cls, *, difficulty: float = 0.5) -> Self:
        """Sizes, spacings and HU as in the quiz data (reference/seeds.md 0.2)."""
        return cls(
            spacing_z_mm=(0.45, 0.7, 1.0, 2.0, 3.0, 4.0, 8.0),
            spacing_inplane_mm=(0.33, 0.56, 0.68, 0.73, 0.78, 0.89, 0.98),
            extent_zyx_mm=(124.0, 87.0, 131.0),
            extent_log_sd=(0.16, 0.13, 0.11),
            extent_z_power=0.25,
            min_shape_zyx=(21, 68, 93),
            max_shape_zyx=(244, 272, 459),
            organ_share=0.055,
            lesion_share=0.0058,
            lesion_log_sd=0.9,
            tiny_lesion_probability=0.05,
            max_lesion_share=0.03,
            difficulty=difficulty,
            texture_sd_hu=35.0,
            texture_wavelength_mm=6.0,
            noise_sd_hu=26.0,
            noise_correlation_mm=0.8,
            parenchyma_hu=118.0,
            parenchyma_sd_hu=25.0,
            fat_share=0.14,
            fat_plane_mm=1.0,
        )

    @classmethod
    def demo(cls, *, difficulty: float = 0.1) -> Self:
        """Small volumes with a large lesion, learnt by a small network in minutes on a CPU."""
        return cls(
            spacing_z_mm=(2.7, 2.8, 2.9, 3.0, 3.1, 3.2, 3.3),
            spacing_inplane_mm=(2.1, 2.13, 2.16, 2.2, 2.24, 2.27, 2.3),
            extent_zyx_mm=(93.0, 123.0, 143.0),
            extent_log_sd=(0.10, 0.06, 0.06),
            extent_z_power=0.0,
            min_shape_zyx=(24, 46, 52),
            max_shape_zyx=(40, 64, 76),
            organ_share=0.052,
            lesion_share=0.014,
            lesion_log_sd=0.4,
            tiny_lesion_probability=0.0,
            max_lesion_share=0.03,
            difficulty=difficulty,
            texture_sd_hu=65.0,
            texture_wavelength_mm=12.0,
            noise_sd_hu=12.0,
            noise_correlation_mm=1.5,
            parenchyma_hu=115.0,
            parenchyma_sd_hu=10.0,
            fat_share=0.05,
            fat_plane_mm=3.0,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PancreasParameters:
    """The numbers of one case; none of them depends on the subtype.

    Attributes:
        shape_zyx: array size of the ROI.
        spacing_zyx_mm: voxel size.
        organ_mm3: volume of the organ before the lesion is painted over it.
        lesion_mm3: volume of the lesion.
        lesion_position: where along the organ the lesion lies, 0 (uncinate) to 1 (tail).
        parenchyma_hu: of the organ without fat.
        lesion_hu: mean of the lesion.
        seeds: of surroundings, organ, lesion and noise.
    """

    shape_zyx: tuple[int, int, int]
    spacing_zyx_mm: Triple
    organ_mm3: float
    lesion_mm3: float
    lesion_position: float
    parenchyma_hu: float
    lesion_hu: float
    seeds: tuple[int, int, int, int]

    @property
    def roi_mm(self) -> np.ndarray:
        """Extent of the ROI, (3,) zyx."""
        extent: np.ndarray = np.array(self.shape_zyx) * np.array(self.spacing_zyx_mm)
        return extent


def draw_pancreas_parameters(config: PancreasPhantomConfig, *, seed: int) -> PancreasParameters:
    """Draws the numbers of a case; cheap, since nothing is rendered."""
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    spacing_z, spacing_inplane = (
        float(np.interp(rng.uniform(), _QUANTILE_LEVELS, table))
        for table in (config.spacing_z_mm, config.spacing_inplane_mm)
    )
    spacing = (spacing_z, spacing_inplane, spacing_inplane)
    extent = np.array(config.extent_zyx_mm) * np.exp(config.extent_log_sd * rng.standard_normal(3))
    extent[0] *= (spacing_z / config.spacing_z_mm[3]) ** config.extent_z_power
    shape = np.clip(np.rint(extent / spacing), config.min_shape_zyx, config.max_shape_zyx)
    roi_mm3 = float(np.prod(shape * spacing))
    parenchyma = config.parenchyma_hu + config.parenchyma_sd_hu * rng.normal()
    organ_mean = parenchyma + config.fat_share * (FAT_HU - parenchyma)
    seeds = rng.integers(2**63, size=4)
    return PancreasParameters(
        shape_zyx=(int(shape[0]), int(shape[1]), int(shape[2])),
        spacing_zyx_mm=spacing,
        organ_mm3=roi_mm3 * config.organ_share * float(np.exp(0.15 * rng.normal())),
        lesion_mm3=roi_mm3 * _lesion_share(config, rng),
        lesion_position=_lesion_position(rng),
        parenchyma_hu=parenchyma,
        lesion_hu=organ_mean + config.lesion_contrast_hu * float(rng.uniform(0.75, 1.25)),
        seeds=(int(seeds[0]), int(seeds[1]), int(seeds[2]), int(seeds[3])),
    )


def _lesion_share(config: PancreasPhantomConfig, rng: np.random.Generator) -> float:
    usual = config.lesion_share * np.exp(config.lesion_log_sd * rng.normal())
    tiny = np.exp(rng.uniform(np.log(1e-5), np.log(5e-4)))
    is_tiny = rng.uniform() < config.tiny_lesion_probability
    return float(min(tiny if is_tiny else usual, config.max_lesion_share))


def _lesion_position(rng: np.random.Generator) -> float:
    """Six of ten lesions lie in the head, the others in body and tail."""
    head, rest = rng.uniform(0.08, 0.30), rng.uniform(0.40, 0.92)
    return float(head if rng.uniform() < 0.6 else rest)
