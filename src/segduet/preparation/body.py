"""Where the patient is in a CT; the air around needs no network."""

import numpy as np

from segduet.core.prepared import Box
from segduet.preparation.boxes import whole_box, widened

#: Hounsfield units: air is near -1000, fat near -100, lungs are between and lie inside the body.
_LEAST_HU = -500

#: Looked at on every voxel of about this size: the skin moves by less than the margin.
_LOOK_MM = 4.0

#: Around what is found: skin, and rounding to the voxels looked at.
_MARGIN_MM = 10.0

#: Parts of at least this share of the largest count, such as two legs; tables and tubes do not.
_LEAST_PART = 0.1

#: A body fills more of a CT than this; less is a phantom of a needle, or another unit.
_LEAST_SHARE = 0.01


def body_box(image: np.ndarray, spacing_mm: tuple[float, float, float]) -> Box | None:
    """Box around the parts of a CT that are denser than air, with a margin.

    Of the connected parts the largest counts, and others of at least a tenth of it. The image is
    looked at on a coarse grid of its own voxels; nothing is interpolated.

    Args:
        image: (C, Z, Y, X) in Hounsfield units.
        spacing_mm: distance of its voxels along z, y and x.

    Returns:
        Half-open (start, stop) per axis; None where the found parts fill less than 1 % of the
        image, as in one without a body, or in other units.
    """
    from scipy import ndimage  # takes longer to import than most cases to prepare

    steps = [max(1, int(_LOOK_MM / spacing)) for spacing in spacing_mm]
    coarse = image[:, *(slice(None, None, step) for step in steps)]
    parts, num_parts = ndimage.label((coarse > _LEAST_HU).any(axis=0))
    sizes = np.bincount(parts.ravel(), minlength=num_parts + 1)[1:]
    kept = np.flatnonzero(sizes >= _LEAST_PART * sizes.max(initial=0)) + 1
    if sizes[kept - 1].sum() < _LEAST_SHARE * parts.size:
        return None
    boxes = [part for number, part in enumerate(ndimage.find_objects(parts), 1) if number in kept]
    z, y, x = (
        (min(part[axis].start for part in boxes) * step, max(p[axis].stop for p in boxes) * step)
        for axis, step in enumerate(steps)
    )
    first, second, third = (
        step + int(np.ceil(_MARGIN_MM / spacing))
        for step, spacing in zip(steps, spacing_mm, strict=True)
    )
    return widened((z, y, x), (first, second, third), whole_box(image.shape[1:]))
