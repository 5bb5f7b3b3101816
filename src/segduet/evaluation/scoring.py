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
from segduet.metrics.overlap import dsc, f_beta, iou, precision, recall
from segduet.metrics.surface import assd_mm, hd95_mm, nsd, surface_distances, union_box
from segduet.metrics.volume import volume_difference_ml, volume_ml

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
    _check_values(record.case, "reference mask", true, labels)
    _check_values(record.case, "predicted mask", drawn, labels)
    ignored = labels.ignore_value
    counted = np.ones(true.shape, dtype=bool) if ignored is None else true != ignored
    segmentation, volumes = {}, {}
    for name, members in scored_regions(labels).items():
        segmentation[name], volumes[name] = _score_region(
            _inside(true, members) & counted,
            _inside(drawn, members) & counted,
            reference.geometry,
            nsd_tolerance_mm,
        )
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


def _score_region(
    reference: np.ndarray,
    prediction: np.ndarray,
    geometry: Geometry,
    nsd_tolerance_mm: float | None,
) -> tuple[dict[str, Score], tuple[float, float]]:
    voxel_ml = geometry.voxel_volume_ml
    scores = {
        "dsc": dsc(reference, prediction),
        "iou": iou(reference, prediction),
        "f2": f_beta(reference, prediction, beta=2),
        "precision": precision(reference, prediction),
        "recall": recall(reference, prediction),
        "volume_difference_ml": Score(
            value=volume_difference_ml(reference, prediction, voxel_volume_ml=voxel_ml)
        ),
    }
    if nsd_tolerance_mm is not None:
        scores |= _surface_scores(reference, prediction, geometry, nsd_tolerance_mm)
        scores |= _lesion_scores(reference, prediction)
    volumes = (
        volume_ml(reference, voxel_volume_ml=voxel_ml),
        volume_ml(prediction, voxel_volume_ml=voxel_ml),
    )
    return scores, volumes


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


def _inside(label_map: np.ndarray, members: tuple[int, ...]) -> np.ndarray:
    """Where the value is one of a few: several times faster than `np.isin`."""
    inside: np.ndarray = label_map == members[0]
    for value in members[1:]:
        inside |= label_map == value
    return inside


def _check_values(case: str, what: str, array: np.ndarray, labels: LabelScheme) -> None:
    if _inside(array, labels.values).all():
        return
    unknown = sorted(set(np.unique(array).tolist()) - set(labels.values))
    raise DataError(
        f"case {case!r}, {what}",
        found=f"label values {unknown[:5]}",
        expected=f"only {list(labels.values)}, as dataset.json declares",
        remedy="Remap the mask, or declare the label.",
    )
