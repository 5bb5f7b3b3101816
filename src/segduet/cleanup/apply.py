"""One step, or several in their order, on a label map."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

import numpy as np

from segduet.cleanup.components import (
    components_of_size,
    components_that_meet,
    largest_component,
)
from segduet.cleanup.holes import holes
from segduet.cleanup.membership import values_after_joining, values_after_leaving
from segduet.cleanup.morphology import closed, dilated, opened
from segduet.cleanup.steps import (
    Closing,
    FillHoles,
    KeepInside,
    KeepLargest,
    Opening,
    RemoveSmall,
    Step,
)
from segduet.core.errors import RequestError
from segduet.core.geometry import Geometry
from segduet.core.labels import LabelScheme


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleaned:
    """What became of a label map.

    Attributes:
        label_map: (Z, Y, X), of the dtype it had.
        num_changed: voxels each step changed, in the order of the steps.
        withheld: for each step, whether it would have left a region empty and was not taken.
    """

    label_map: np.ndarray
    num_changed: tuple[int, ...]
    withheld: tuple[bool, ...]


def clean(
    label_map: np.ndarray, geometry: Geometry, labels: LabelScheme, steps: Sequence[Step]
) -> Cleaned:
    """Takes the steps one after the other; the argument is not changed.

    A step that would leave any region without a voxel that had some is not taken, unless it
    `may_empty`. What was empty stays empty.

    Args:
        label_map: (Z, Y, X) integers, values of the scheme.
        geometry: its grid.
        labels: what the values mean; has the regions that the steps name.
        steps: in their order.

    Raises:
        RequestError: a size in ml for a 2D image, or one in mm2 for a 3D image.
    """
    current, num_changed, withheld = label_map, [], []
    for step in steps:
        after = apply_step(current, geometry, labels, step)
        is_withheld = not _may_empty(step) and _empties(current, after, labels)
        after = current if is_withheld else after
        num_changed.append(int(np.count_nonzero(after != current)))
        withheld.append(is_withheld)
        current = after
    return Cleaned(label_map=current, num_changed=tuple(num_changed), withheld=tuple(withheld))


def apply_step(
    label_map: np.ndarray, geometry: Geometry, labels: LabelScheme, step: Step
) -> np.ndarray:
    """The label map after one step, whatever it leaves: (Z, Y, X) of the same dtype.

    Arguments and errors are those of `clean`.
    """
    mask = _union(label_map, labels, step.named)
    match step:
        case KeepLargest():
            return _without(label_map, mask & ~largest_component(mask), labels, step.named)
        case RemoveSmall():
            kept = components_of_size(mask, min_voxels=_min_voxels(step, geometry))
            return _without(label_map, mask & ~kept, labels, step.named)
        case FillHoles():
            return _with(label_map, holes(mask), labels, step.region)
        case Opening():
            kept = opened(mask, geometry.spacing_zyx_mm, radius_mm=step.radius_mm)
            return _without(label_map, mask & ~kept, labels, step.named)
        case Closing():
            whole = closed(mask, geometry.spacing_zyx_mm, radius_mm=step.radius_mm)
            return _with(label_map, whole & ~mask, labels, step.region)
        case KeepInside():
            outside = _outside(label_map, geometry, labels, step)
            return _without(label_map, outside, labels, step.named)
        case _:
            assert_never(step)


def _outside(
    label_map: np.ndarray, geometry: Geometry, labels: LabelScheme, step: KeepInside
) -> np.ndarray:
    lesion = labels.mask(label_map, step.region)
    organ = labels.mask(label_map, step.organ) & ~lesion
    # a lesion in the middle of its organ is in it, however thick
    near = dilated(organ | holes(organ), geometry.spacing_zyx_mm, radius_mm=step.margin_mm)
    kept = components_that_meet(lesion, near) if step.remove == "components" else near
    outside: np.ndarray = lesion & ~kept
    return outside


def _min_voxels(step: RemoveSmall, geometry: Geometry) -> float:
    is_flat = geometry.num_spatial_dims == 2
    size = step.min_mm2 if is_flat else step.min_ml
    if size is None:
        raise RequestError(
            f"cleanup step {step.kind} of {list(step.named)}",
            found=f"a size in {'ml' if is_flat else 'mm2'} and a "
            f"{geometry.num_spatial_dims}D image",
            expected="min_ml for 3D images, min_mm2 for 2D ones",
            remedy="Use a plan that was made for such images.",
        )
    # the "millilitres" of a 2D image are its pixels by the thousand
    return size / (geometry.voxel_volume_ml * (1000 if is_flat else 1))


def _union(label_map: np.ndarray, labels: LabelScheme, names: Sequence[str]) -> np.ndarray:
    members = {value for name in names for value in labels.foreground[name]}
    inside: np.ndarray = np.isin(label_map, sorted(members))
    return inside


def _without(
    label_map: np.ndarray, removed: np.ndarray, labels: LabelScheme, regions: tuple[str, ...]
) -> np.ndarray:
    return _renamed(label_map, removed, values_after_leaving(labels, regions))


def _with(label_map: np.ndarray, added: np.ndarray, labels: LabelScheme, region: str) -> np.ndarray:
    return _renamed(label_map, added, values_after_joining(labels, region))


def _renamed(label_map: np.ndarray, where: np.ndarray, new_values: np.ndarray) -> np.ndarray:
    after = label_map.copy()
    after[where] = new_values[label_map[where]]
    return after


def _may_empty(step: Step) -> bool:
    return not isinstance(step, FillHoles | Closing) and step.may_empty


def _empties(before: np.ndarray, after: np.ndarray, labels: LabelScheme) -> bool:
    held, left = ({v for v in labels.values if (a == v).any()} for a in (before, after))
    return any(
        held.intersection(members) and not left.intersection(members)
        for members in labels.foreground.values()
    )
