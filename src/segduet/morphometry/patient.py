"""How the regions change between the images of one patient, such as the two heart phases."""

from collections.abc import Mapping, Sequence

from segduet.core.scores import Score

#: What is compared between a patient's images, by the end of a measure's name.
_COMPARED = (".volume_ml", "_mm", ".volume_ratio")

Measures = Mapping[str, Score]


def measure_patient(images: Sequence[Measures], *, order_by: str | None) -> dict[str, Score]:
    """Measurements of a patient's largest and smallest image, and what changed between them.

    The images are ordered by the volume of the region `order_by`, the largest first, so the
    answer knows nothing of file names or of the order they come in: with LV as the region the
    first is the end of diastole and the last the end of systole. Images in between are left out.
    A patient with one image has a first image and no change.

    Args:
        images: `measure_case` of each of the patient's images, at least one, with equal names.
        order_by: the region; None only for a single image.

    Returns:
        `first.<measure>` and `last.<measure>` of the two images; for every volume, thickness,
        extent, distance and ratio of volumes `change.<measure>` (last - first) and
        `relative_change.<measure>` (last / first); for every region
        `<region>.ejection_fraction` (1 - smallest / largest volume over all images, in [0, 1]).
    """
    assert images, "a patient has at least one image"
    assert order_by is not None or len(images) == 1, "several images need a region to order them"
    ordered = sorted(images, key=lambda m: _order(m, order_by))
    first, last = ordered[0], ordered[-1]
    alone = Score(value=None, reason="the patient has one image")
    has_several = len(images) > 1
    measures = {f"first.{name}": score for name, score in first.items()}
    measures |= {f"last.{name}": score if has_several else alone for name, score in last.items()}
    for name in (n for n in first if n.endswith(_COMPARED)):
        change = _change(first[name], last[name]) if has_several else (alone, alone)
        measures[f"change.{name}"], measures[f"relative_change.{name}"] = change
    for name in (n for n in first if n.endswith(".volume_ml")):
        fraction = _ejection_fraction([m[name] for m in images]) if has_several else alone
        measures[name.removesuffix("volume_ml") + "ejection_fraction"] = fraction
    return measures


def _order(measures: Measures, order_by: str | None) -> tuple[float, ...]:
    """Largest volume of the region first; equal ones by all their other numbers, never by place."""
    if order_by is None:
        return ()
    others = (measures[name].value for name in sorted(measures))
    return (-(measures[f"{order_by}.volume_ml"].value or 0.0), *(v or 0.0 for v in others))


def _change(first: Score, last: Score) -> tuple[Score, Score]:
    """Difference and ratio."""
    if first.value is None or last.value is None:
        undefined = Score(value=None, reason=first.reason or last.reason)
        return undefined, undefined
    difference = Score(value=last.value - first.value)
    if first.value == 0:
        return difference, Score(value=None, reason="it is 0 in the first image")
    return difference, Score(value=last.value / first.value)


def _ejection_fraction(volumes: Sequence[Score]) -> Score:
    numbers = [v.value for v in volumes if v.value is not None]
    if not numbers or max(numbers) == 0:
        return Score(value=None, reason="the region is empty in every image")
    return Score(value=1 - min(numbers) / max(numbers))
