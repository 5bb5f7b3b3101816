"""Label names, values and regions of an imported dataset."""

from collections.abc import Sequence
from pathlib import Path

from segduet.core.errors import DataError, RequestError
from segduet.core.labels import BACKGROUND
from segduet.dataset.convert import read_source_mask
from segduet.dataset.importers.options import ImportOptions, RegionMode
from segduet.dataset.label_repair import mask_values
from segduet.dataset.parallel import map_threaded


def label_entries(
    names: Sequence[str], mode: RegionMode
) -> tuple[dict[str, int | list[int]], tuple[int, ...]]:
    """The `labels` and `regions_class_order` of a dataset.json for foreground labels 1, 2, ...

    A nested region holds its own label and all later ones; a single label is never a region.

    Args:
        names: foreground names in order; outermost first where nested.
        mode: how the labels relate.
    """
    count = len(names)
    if mode == RegionMode.PLAIN or count < 2:
        return {BACKGROUND: 0, **{name: i for i, name in enumerate(names, start=1)}}, ()
    regions = {name: list(range(i, count + 1)) for i, name in enumerate(names[:-1], start=1)}
    return {BACKGROUND: 0, **regions, names[-1]: count}, tuple(range(1, count + 1))


def find_value_map(masks: Sequence[Path], options: ImportOptions) -> dict[int, int]:
    """Value in the masks -> label: as the options say, or as found in the masks.

    Without a word from the user only what can be meant in one way is accepted: labels 1, 2, ...
    without a gap, or one foreground value of any size (0 and 255).

    Raises:
        RequestError: as many names as values are needed, and there are not.
        DataError: there is no mask, one cannot be read or has values that are no integers, or the
            values leave open which labels are meant.
    """
    if not masks:
        raise DataError(
            "masks",
            found="not a single one",
            expected="masks of at least some cases",
            remedy="Check the path, and that masks are named like their images.",
        )
    values = list(options.label_values)
    if not values:
        values = foreground_values(values_of_masks(masks, workers=options.workers))
    if 0 in values or len(set(values)) != len(values):
        raise RequestError(
            "--label-values",
            found=f"{values}",
            expected="distinct foreground values; 0 is always background",
            remedy="Correct the values.",
        )
    if options.label_names and len(options.label_names) != len(values):
        raise RequestError(
            "--label-names",
            found=f"{len(options.label_names)} names {list(options.label_names)}",
            expected=f"{len(values)}, one for each of the mask values {values}",
            remedy="Name every label, in ascending order of value, or none.",
        )
    return {0: 0, **{value: label for label, value in enumerate(values, start=1)}}


def names_of_labels(count: int, options: ImportOptions) -> tuple[str, ...]:
    """The user's label names, or `label_1`, `label_2`, ..."""
    return options.label_names or tuple(f"label_{i}" for i in range(1, count + 1))


def values_of_masks(masks: Sequence[Path], *, workers: int) -> list[list[int]]:
    """The distinct integers in each mask, ascending.

    Raises:
        DataError: a mask cannot be read, or has a value that is no integer.
    """

    def values_of(path: Path) -> list[int]:
        return mask_values(read_source_mask(path).array, where=str(path))

    return map_threaded(values_of, masks, workers=workers)


def foreground_values(values_per_mask: Sequence[Sequence[int]]) -> list[int]:
    """Foreground values over all masks, where they can be meant in one way only.

    Raises:
        DataError: no background, no foreground, or several values with gaps.
    """
    found = {value for values in values_per_mask for value in values}
    foreground = sorted(found - {0})
    is_plain = foreground == list(range(1, len(foreground) + 1))
    if 0 not in found or not foreground or not (is_plain or len(foreground) == 1):
        shown = sorted(found)
        raise DataError(
            f"{len(values_per_mask)} masks",
            found=f"the values {shown[:20]}{' and more' if len(shown) > 20 else ''}",
            expected="background 0 and labels 1, 2, ... without a gap, or one foreground value",
            remedy="Say which values are labels with --label-values (and --label-names).",
        )
    return foreground
