"""What a voxel is called once it has left a region, or joined one."""

import numpy as np

from segduet.core.labels import LabelScheme

Memberships = frozenset[str]


def values_after_leaving(labels: LabelScheme, regions: tuple[str, ...]) -> np.ndarray:
    """The new value of every voxel that leaves the union of some regions: (256,) uint8.

    It leaves these regions and all that lie within their union, and stays in the others. So what
    leaves a lesion that is nested in an organ becomes organ, and what leaves a plain label becomes
    background. Where no label belongs to exactly the regions that are left, it is background.

    Args:
        labels: what values mean.
        regions: names of labels or regions, at least one.
    """
    union = {value for name in regions for value in labels.foreground[name]}
    left = {n for n, members in labels.foreground.items() if union.issuperset(members)}
    table = np.zeros(256, np.uint8)
    value_of = _canonical_values(labels)
    for value, own in _memberships(labels).items():
        table[value] = value_of.get(own - left, 0)
    return table


def values_after_joining(labels: LabelScheme, region: str) -> np.ndarray:
    """The new value of every voxel that joins a region: (256,) uint8.

    It joins all regions around it too: a hole in a nested lesion becomes lesion. Where no label
    belongs to exactly those regions the value stays; so plain labels never replace one another.

    Args:
        labels: what values mean.
        region: name of a label or region.
    """
    wanted = set(labels.foreground[region])
    around = {n for n, members in labels.foreground.items() if wanted.issubset(members)}
    table = np.zeros(256, np.uint8)
    value_of = _canonical_values(labels)
    for value, own in _memberships(labels).items():
        table[value] = value_of.get(own | around, value)
    return table


def _memberships(labels: LabelScheme) -> dict[int, Memberships]:
    """Value -> names of the regions it belongs to."""
    return {
        value: frozenset(n for n, members in labels.foreground.items() if value in members)
        for value in labels.values
        if value != labels.ignore_value
    }


def _canonical_values(labels: LabelScheme) -> dict[Memberships, int]:
    """Regions -> the value of a voxel in exactly these, as the network's answers are written."""
    own = _memberships(labels)
    # later ones win: what regions are written as, and background for what is in none
    return {own[value]: value for value in (*own, *labels.regions_class_order, 0)}
