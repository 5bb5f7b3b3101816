"""Phantoms of abdominal CTs with an organ to find, the same for the same (seed, index)."""

import dataclasses

import numpy as np

from segduet.core.volume import Volume
from segduet.dataset.phantoms.abdomen import AbdomenPhantomConfig, generate_abdomen_case
from segduet.dataset.phantoms.pancreas import PancreasPhantomConfig, PhantomCase

Shape = tuple[int, int, int]
Triple = tuple[float, float, float]

#: A pancreas that can be seen: lobulated, fat around it, a lesion of a few centimetres; its
#: neighbours are as dense as it is. Its size, place and turn vary more than in the quiz phantom.
PANCREAS = dataclasses.replace(
    PancreasPhantomConfig.quiz(difficulty=0.1),
    lesion_share=0.012,
    lesion_log_sd=0.4,
    tiny_lesion_probability=0.0,
    lesion_contrast_hu=-70.0,
    noise_sd_hu=18.0,
    fat_plane_mm=2.5,
    parenchyma_sd_hu=12.0,
    tilt_sd_deg=12.0,
)
_PLACEMENT_SD = 0.1


def abdomen(shape: Shape, spacing_mm: Triple, *, seed: int, index: int) -> PhantomCase:
    """A whole abdomen on a table, with spine, vessels, organs, bowel and a pancreas with a lesion.

    Args:
        shape: of the scan, zyx.
        spacing_mm: of the scan, zyx.
        seed: of the series.
        index: of the case in it.
    """
    config = AbdomenPhantomConfig(
        shape_zyx=shape,
        spacing_zyx_mm=spacing_mm,
        pancreas=PANCREAS,
        placement_sd=_PLACEMENT_SD,
        has_table=True,
    )
    return generate_abdomen_case(config, subtype=index % 3, seed=case_seed(seed, index))


def case_seed(seed: int, index: int) -> int:
    """A number of its own for every case of every series."""
    return int(np.random.SeedSequence([seed, index]).generate_state(1)[0])


def as_volume(case: PhantomCase) -> Volume:
    """The image as `segduet.io.images` reads it."""
    return Volume(array=case.image[None], geometry=case.geometry)
