"""The augmentation presets by name (F44), and what to use when."""

from collections.abc import Callable, Sequence
from typing import Any

from segduet.training.augmentation.cue_preserving import cue_preserving_operations
from segduet.training.augmentation.da5 import da5_operations
from segduet.training.augmentation.default import default_operations
from segduet.training.augmentation.mild import mild_operations
from segduet.training.augmentation.plan import AugmentationPlan
from segduet.training.augmentation.previous_stage import previous_stage_operations
from segduet.training.config import AugmentationPreset


def _no_operations(_plan: AugmentationPlan) -> list[Any]:
    return []


_OPERATIONS: dict[AugmentationPreset, Callable[[AugmentationPlan], list[Any]]] = {
    "none": _no_operations,
    "mild": mild_operations,
    "default": default_operations,
    "da5": da5_operations,
    "cue_preserving": cue_preserving_operations,
}

#: Probability that a value of a previous stage is disturbed where a patch is, as in nnU-Net.
_DISTURBED: dict[AugmentationPreset, float] = {
    "none": 0.0,
    "mild": 0.5,
    "default": 0.5,
    "da5": 1.0,
    "cue_preserving": 0.5,
}


def build_augmentation(
    plan: AugmentationPlan, preset: AugmentationPreset, *, fed_values: Sequence[int] = ()
) -> Any:
    """The transform of a preset: called with `image=` and `segmentation=` tensors, seeded outside.

    It may change the tensors it is given. Labels keep their values; what lies outside the image is
    -1. `none` leaves the patch as it is. Use

    - `default` (nnU-Net's) unless there is a reason not to;
    - `da5` for segmentation from few cases, or where scanners differ, in long trainings;
    - `cue_preserving` where the class is read from texture, intensity or size, which the two above
      blur, shift and scale; not where it is read from a side (left or right), since all mirror;
    - `mild` for short trainings, and where the images are alike;
    - `none` to overfit on purpose, and for the measure of what augmentation brings.

    Args:
        plan: what `plan_augmentation` gave for the same preset.
        preset: name of the set of operations.
        fed_values: of a cascade's second stage: `segmentation` holds the first stage's label map
            behind the reference, and leaves it for a channel of `image` for each of these values.
            They are disturbed, save under `none`.
    """
    from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms

    operations = _OPERATIONS[preset](plan)
    if fed_values:
        operations += previous_stage_operations(fed_values, p_per_value=_DISTURBED[preset])
    return ComposeTransforms(operations)
