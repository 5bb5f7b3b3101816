"""F04: label maps whose values are integers but for a rounding error, made whole; others refused.

Float masks saved through a scaled integer header decode to values such as 1.0000153. Those within
`TOLERANCE` of a declared value are set to it; anything else is an error, never rounded away.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import nibabel as nib
import numpy as np

from segduet.core.errors import DataError
from segduet.core.files import atomic_path
from segduet.core.geometry import Geometry
from segduet.io.images import write_label_map
from segduet.io.nifti import NIFTI_ENDINGS

#: Far above scaling errors (1.5e-5 per label in 16 bit), far below any honest in-between value.
TOLERANCE = 1e-3
_MAX_VALUE = int(np.iinfo(np.uint16).max)


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """What was changed in one mask.

    Attributes:
        num_rounded: voxels that were not exact integers.
        num_remapped: voxels whose value was replaced by rule, such as 255 by 1.
        max_error: largest distance of a value from its integer.
    """

    num_rounded: int
    num_remapped: int
    max_error: float

    @property
    def is_needed(self) -> bool:
        """Whether the label map differs from what the file holds."""
        return self.num_rounded > 0 or self.num_remapped > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairedMask:
    """A label map with declared values only, and what was done to get there.

    Attributes:
        label_map: (Z, Y, X) uint8.
        repair: the changes.
    """

    label_map: np.ndarray
    repair: Repair


def repair_mask(values: np.ndarray, value_map: Mapping[int, int], *, case: str) -> RepairedMask:
    """Snaps values to integers and maps them to the labels of the dataset.

    Args:
        values: (Z, Y, X) any numeric dtype, finite.
        value_map: value in the user's mask -> label, both within 0-65535 and 0-255; the identity
            on the declared labels where there is nothing to map.
        case: case id, for the message.

    Raises:
        DataError: a value is further than `TOLERANCE` from an integer, or not among the declared.
    """
    nearest, error = _snapped(values, value_map, where=_mask_of(case))
    declared = _present_values(nearest)
    for value in declared:
        if value not in value_map:
            _refuse(value, value_map, where=_mask_of(case))
    table = np.zeros(max(declared) + 1, dtype=np.uint8)
    table[declared] = [value_map[v] for v in declared]
    label_map = table[nearest]
    repair = Repair(
        num_rounded=int(np.count_nonzero(error)),
        num_remapped=int(np.count_nonzero(label_map != nearest)),
        max_error=float(error.max()),
    )
    return RepairedMask(label_map=label_map, repair=repair)


def mask_values(values: np.ndarray, *, where: str) -> list[int]:
    """The distinct integers in a mask, ascending, after snapping as `repair_mask` does.

    Raises:
        DataError: a value is no integer within `TOLERANCE`, or outside 0-65535.
    """
    nearest, _ = _snapped(values, {}, where=where)
    return _present_values(nearest)


def write_repaired(source: Path, target: Path, label_map: np.ndarray, grid: Geometry) -> None:
    """Writes a repaired label map as uint8, unscaled, where the original lies in space.

    Between NIfTI files the header is kept (qform, sform, units), but for dtype and scaling.

    Raises:
        StorageError: the file could not be written.
    """
    if not all(p.name.lower().endswith(NIFTI_ENDINGS) for p in (source, target)):
        write_label_map(target, label_map, grid)
        return
    original = nib.load(source)
    values = label_map.transpose(2, 1, 0).reshape(original.shape)
    image = nib.Nifti1Image(values, original.affine, original.header)
    image.header.set_data_dtype(np.uint8)
    with atomic_path(target) as temporary:
        nib.save(image, temporary)


def _snapped(
    values: np.ndarray, value_map: Mapping[int, int], *, where: str
) -> tuple[np.ndarray, np.ndarray]:
    """Nearest integers (uint16) and the distance from them."""
    low, high = values.min(), values.max()
    if low < -TOLERANCE or high > _MAX_VALUE + TOLERANCE:
        _refuse(low if low < -TOLERANCE else high, value_map, where=where)
    if values.dtype.kind != "f":
        # nothing to round; one zero stands for the distance everywhere
        return values.astype(np.uint16, copy=False), np.zeros(1)
    nearest = np.rint(values)
    error = np.abs(values - nearest)
    worst = int(np.argmax(error))
    if error.flat[worst] > TOLERANCE:
        _refuse(values.flat[worst], value_map, where=where)
    return nearest.astype(np.uint16), error


def _present_values(nearest: np.ndarray) -> list[int]:
    return [int(value) for value in np.flatnonzero(np.bincount(nearest.ravel()))]


def _mask_of(case: str) -> str:
    return f"case {case!r}, mask"


def _refuse(value: np.number | int, value_map: Mapping[int, int], *, where: str) -> NoReturn:
    expected = f"one of {sorted(value_map)}" if value_map else f"integers from 0 to {_MAX_VALUE}"
    raise DataError(
        where,
        found=f"the value {value!s}",  # numpy's shortest: 1.4, not 1.39999998
        expected=f"{expected} (within {TOLERANCE:g})",
        remedy="Correct the mask, or declare the label and its value.",
    )
