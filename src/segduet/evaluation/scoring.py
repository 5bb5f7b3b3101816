"""Scores of one case: every region of its mask, every class answer."""

from collections.abc import Mapping

import numpy as np

from segduet.core.answers import decide
from segduet.core.cases import CaseRecord
from segduet.core.errors import DataError
from segduet.core.geometry import Geometry
from segduet.core.labels import LabelScheme
from segduet.core.scores import CaseScores, ClassAnswer, Score
from segduet.core.tasks import TaskSpec
from segduet.core.volume import Volume
from segduet.metrics.detection import count_lesions, lesion_f1, lesion_precision, lesion_recall
from segduet.metrics.label_pairs import label_pairs, region_counts
from segduet.metrics.overlap import OverlapCounts, overlap_scores
from segduet.metrics.surface import assd_mm, hd95_mm, nsd, surface_distances, union_box

Regions = Mapping[str, tuple[int, ...]]
#: A probability vector that went through a text file with six decimals still sums to 1 within this.
_SUM_TOLERANCE = 1e-3


def scored_regions(labels: LabelScheme) -> dict[str, tuple[int, ...]]:
    """Name -> label values of everything that is scored.

    The declared foreground labels or regions, and for a region with others inside what belongs to
    it alone, as `<name>_only`: with `whole` = 1, 2 and `lesion` = 2, `whole_only` is the normal
    organ (F81).
    """
    regions = labels.foreground
    alone = {}
    for name, members in regions.items():
        inner = {v for other in regions.values() if set(other) < set(members) for v in other}
        rest = tuple(v for v in members if v not in inner)
        if inner and rest:
            alone[f"{name}_only"] = rest
    return {**regions, **alone}


def score_case(
    record: CaseRecord,
    reference: Volume | None,
    prediction: Volume | None,
    *,
    labels: LabelScheme,
    answers: Mapping[str, ClassAnswer],
    nsd_tolerance_mm: float | None = None,
) -> CaseScores:
    """Measures one case in native geometry.

    Voxels with the reference's ignore value are left out of both masks; a region that reaches into
    them ends there, so that both surfaces run along that edge. Without a reference mask
    (`None` for both volumes) only the class answers are kept.

    Args:
        record: the case's ids.
        reference: (1, Z, Y, X) integer label map.
        prediction: (1, Z, Y, X) integer label map on the same grid.
        labels: what the values mean.
        answers: task name -> answer.
        nsd_tolerance_mm: how far surfaces may lie apart, >= 0; None measures neither surfaces nor
            lesions, which take longer than everything else together.

    Raises:
        DataError: the two grids differ, or a value is not declared.
    """
    if reference is None or prediction is None:
        return CaseScores(case=record.case, patient=record.patient, answers=answers)
    _check_grid(record.case, reference, prediction)
    # beyond this box both are background, which is in no region and in no number
    box = union_box(reference.array[0], prediction.array[0])
    true, drawn = reference.array[0][box], prediction.array[0][box]
    # declared values are 0 to K - 1
    pairs = label_pairs(true, drawn, num_values=len(labels.values))
    _check_values(record.case, "reference mask", true, int(pairs[-1].sum()), labels)
    _check_values(record.case, "predicted mask", drawn, int(pairs[:, -1].sum()), labels)
    counted = _counted(true, labels)
    segmentation, volumes = {}, {}
    for name, members in scored_regions(labels).items():
        counts = region_counts(pairs, members, ignored=labels.ignore_value)
        segmentation[name], volumes[name] = _overlaps(counts, reference.geometry)
        if nsd_tolerance_mm is not None:
            masks = _inside(true, members) & counted, _inside(drawn, members) & counted
            segmentation[name] |= _surface_scores(*masks, reference.geometry, nsd_tolerance_mm)
            segmentation[name] |= _lesion_scores(*masks)
    return CaseScores(
        case=record.case,
        patient=record.patient,
        segmentation=segmentation,
        volumes_ml=volumes,
        answers=answers,
    )


def class_answer(record: CaseRecord, task: TaskSpec, probabilities: np.ndarray) -> ClassAnswer:
    """What was answered for a case beside what is true, decided as `core.answers.decide` does.

    Args:
        record: the case and what is known about it.
        task: the question, of any kind.
        probabilities: (answer_size,), as from `answer_probabilities`.

    Raises:
        DataError: another number of numbers, one that is not finite, or probabilities outside
            [0, 1] or, of exclusive classes, whose sum is not 1.
    """
    values = np.asarray(probabilities, dtype=np.float64)
    fault = _fault(task, values)
    if fault:
        raise DataError(
            f"case {record.case!r}, task {task.name!r}",
            found=f"the answer {values.tolist()}",
            expected=fault,
            remedy="Predict the case again; predictions.csv may have been edited.",
        )
    return ClassAnswer(
        reference=record.labels.get(task.name),
        predicted=decide(task, values),
        probabilities=tuple(values.tolist()),
        kind=task.kind,
        unit=task.unit or "",
    )


def _fault(task: TaskSpec, values: np.ndarray) -> str:
    """What an answer should have been; empty if it is that."""
    fits = values.shape == (task.answer_size,) and bool(np.isfinite(values).all())
    if task.kind == "regression":
        return "" if fits else "one finite number"
    fits = fits and bool(((values >= 0) & (values <= 1)).all())
    if task.kind == "multilabel":
        return "" if fits else f"{task.answer_size} numbers from 0 to 1"
    fits = fits and abs(values.sum() - 1) <= _SUM_TOLERANCE
    return "" if fits else f"{task.answer_size} numbers from 0 to 1 that sum to 1"


def _overlaps(
    counts: OverlapCounts, geometry: Geometry
) -> tuple[dict[str, Score], tuple[float, float]]:
    """Scores of the overlap and of the volumes, and both volumes in ml."""
    voxel_ml = geometry.voxel_volume_ml
    volumes = counts.in_reference * voxel_ml, counts.in_prediction * voxel_ml
    difference = Score(value=volumes[1] - volumes[0])
    return {**overlap_scores(counts), "volume_difference_ml": difference}, volumes


def _surface_scores(
    reference: np.ndarray, prediction: np.ndarray, geometry: Geometry, nsd_tolerance_mm: float
) -> dict[str, Score]:
    """Of an image of one slice, the outlines in its plane."""
    spacing: tuple[float, ...] = geometry.spacing_zyx_mm
    if geometry.shape_zyx[0] == 1:
        reference, prediction, spacing = _in_plane(reference), _in_plane(prediction), spacing[1:]
    distances = surface_distances(reference, prediction, spacing_mm=spacing)
    return {
        "nsd": nsd(distances, tolerance_mm=nsd_tolerance_mm),
        "hd95_mm": hd95_mm(distances),
        "assd_mm": assd_mm(distances),
    }


def _lesion_scores(reference: np.ndarray, prediction: np.ndarray) -> dict[str, Score]:
    counts = count_lesions(reference, prediction)
    return {
        "lesion_recall": lesion_recall(counts),
        "lesion_precision": lesion_precision(counts),
        "lesion_f1": lesion_f1(counts),
    }


def _in_plane(mask: np.ndarray) -> np.ndarray:
    return np.asarray(mask.any(axis=0))


def _check_grid(case: str, reference: Volume, prediction: Volume) -> None:
    # most predictions repeat the header to the digit
    if reference.geometry == prediction.geometry:
        return
    differing = reference.geometry.differences(prediction.geometry)
    if differing:
        raise DataError(
            f"case {case!r}",
            found=f"a predicted mask whose {', '.join(differing)} differ from the reference: "
            f"shape {prediction.geometry.shape_zyx} and {reference.geometry.shape_zyx}, "
            f"spacing {prediction.geometry.spacing_zyx_mm} and {reference.geometry.spacing_zyx_mm}",
            expected="the prediction on the grid of the reference mask",
            remedy="Write predictions in the geometry of the input image; never resample to score.",
        )


def _counted(reference: np.ndarray, labels: LabelScheme) -> np.ndarray:
    ignored = labels.ignore_value
    return np.ones(reference.shape, dtype=bool) if ignored is None else reference != ignored


def _inside(label_map: np.ndarray, members: tuple[int, ...]) -> np.ndarray:
    """Where the value is one of a few: several times faster than `np.isin`."""
    inside: np.ndarray = label_map == members[0]
    for value in members[1:]:
        inside |= label_map == value
    return inside


def _check_values(
    case: str, what: str, array: np.ndarray, num_unknown: int, labels: LabelScheme
) -> None:
    if num_unknown == 0:
        return
    unknown = sorted(set(np.unique(array).tolist()) - set(labels.values))
    raise DataError(
        f"case {case!r}, {what}",
        found=f"label values {unknown[:5]}",
        expected=f"only {list(labels.values)}, as dataset.json declares",
        remedy="Remap the mask, or declare the label.",
    )
