"""Where labels lie in a prepared case: a bounded sample of voxels per label or region."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from segduet.core.labels import LabelScheme

#: Voxels kept per label or region; nnU-Net's number.
MAX_LOCATIONS = 10_000

#: nnU-Net's seed for the choice.
_SEED = 1234


@dataclass(frozen=True, slots=True, kw_only=True)
class Regions:
    """The foreground labels or regions of one case.

    Attributes:
        voxels: name -> how many voxels it has.
        locations: name -> (N, 3) int32 of its voxels, at most `MAX_LOCATIONS`.
        foreground_voxels: voxels that belong to any of them.
    """

    voxels: Mapping[str, int]
    locations: Mapping[str, np.ndarray]
    foreground_voxels: int


def locate_regions(label_map: np.ndarray | None, labels: LabelScheme) -> Regions:
    """Counts and locates every foreground label or region; all are empty where there is no mask.

    Args:
        label_map: (Z, Y, X) integers.
        labels: what they mean.
    """
    searched = np.empty((0, 0, 0), np.int16) if label_map is None else label_map
    found = {name: sample_locations(searched, m) for name, m in labels.foreground.items()}
    members = {value for values in labels.foreground.values() for value in values}
    return Regions(
        voxels={name: total for name, (_, total) in found.items()},
        locations={name: sampled for name, (sampled, _) in found.items()},
        foreground_voxels=int(np.isin(searched, list(members)).sum()),
    )


def sample_locations(label_map: np.ndarray, values: Collection[int]) -> tuple[np.ndarray, int]:
    """Voxels whose label is one of `values`, at most `MAX_LOCATIONS` drawn evenly.

    Args:
        label_map: (Z, Y, X) integers.
        values: labels that count.

    Returns:
        (N, 3) int32 voxels in z, y, x order, and how many there are in all; N = 0 where there are
        none. The same label map gives the same voxels.
    """
    flat = np.flatnonzero(np.isin(label_map, list(values)))
    total = flat.size
    if total > MAX_LOCATIONS:
        rng = np.random.default_rng(_SEED)
        flat = np.sort(rng.choice(flat, MAX_LOCATIONS, replace=False))
    return np.stack(np.unravel_index(flat, label_map.shape), axis=1).astype(np.int32), total


def stock_locations(
    label_map: np.ndarray | None, labels: LabelScheme, regions: Regions
) -> dict[int | tuple[int, ...], np.ndarray]:
    """The same voxels under nnU-Net's keys, (N, 4) int64 with a leading channel of 0.

    With an ignore label, nnU-Net also wants voxels that somebody annotated.
    """
    keyed: dict[int | tuple[int, ...], np.ndarray] = {
        members if len(members) > 1 else members[0]: regions.locations[name]
        for name, members in labels.foreground.items()
    }
    if labels.ignore_value is not None and label_map is not None:
        annotated = (-1, *(v for v in labels.values if v != labels.ignore_value))
        keyed[annotated] = sample_locations(label_map, annotated)[0]
    return {key: np.pad(found, ((0, 0), (1, 0))).astype(np.int64) for key, found in keyed.items()}
