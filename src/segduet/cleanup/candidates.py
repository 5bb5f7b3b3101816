"""The steps that learning tries, from the labels alone."""

import itertools

from segduet.cleanup.steps import (
    Closing,
    FillHoles,
    KeepInside,
    KeepLargest,
    Opening,
    RemoveSmall,
    Step,
)
from segduet.core.labels import LabelScheme

#: Sizes and distances to try: a few, since every one more is one more chance to be fooled.
_MIN_ML = (0.05, 0.5)
_MIN_MM2 = (25.0, 100.0)
_RADIUS_MM = 2.0
_MARGINS_MM = (3.0, 10.0)


def candidate_steps(labels: LabelScheme, *, num_spatial_dims: int) -> tuple[Step, ...]:
    """Steps worth trying for label maps of this scheme, always in the same order.

    The largest component of all foreground together (where there are several regions) and of each
    region, as nnU-Net tries them; small components, holes, opening and closing of each region; and
    for regions nested in one another the inner kept inside the outer. Which plain label is a lesion
    of which organ nobody can tell from the labels: write such a step by hand.

    Args:
        labels: what the values mean.
        num_spatial_dims: of the images, 2 or 3.
    """
    regions = tuple(labels.foreground)
    steps: list[Step] = [KeepLargest(regions=regions)] if len(regions) > 1 else []
    for region in regions:
        steps += _of_region(region, num_spatial_dims)
    for inner, outer in itertools.permutations(regions, 2):
        if set(labels.foreground[inner]) < set(labels.foreground[outer]):
            steps += [KeepInside(region=inner, organ=outer, margin_mm=m) for m in _MARGINS_MM]
    return tuple(steps)


def _of_region(region: str, num_spatial_dims: int) -> list[Step]:
    return [
        KeepLargest(regions=(region,)),
        *_small(region, num_spatial_dims),
        FillHoles(region=region),
        Opening(region=region, radius_mm=_RADIUS_MM),
        Closing(region=region, radius_mm=_RADIUS_MM),
    ]


def _small(region: str, num_spatial_dims: int) -> list[Step]:
    """Also such that they may remove all there is: what the network sees in healthy cases."""
    regions = (region,)
    if num_spatial_dims == 2:
        return [
            RemoveSmall(regions=regions, min_mm2=size, may_empty=may_empty)
            for may_empty, size in itertools.product((False, True), _MIN_MM2)
        ]
    return [
        RemoveSmall(regions=regions, min_ml=size, may_empty=may_empty)
        for may_empty, size in itertools.product((False, True), _MIN_ML)
    ]
