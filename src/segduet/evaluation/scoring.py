"""Scores of one case: every region of its mask, every class answer."""

from collections.abc import Mapping

import numpy as np

from segduet.core.answers import decide
from segduet.core.cases import CaseRecord
from segduet.core.errors import DataError
from segduet.core.labels import LabelScheme
from segduet.core.scores import CaseScores, ClassAnswer, Score
from segduet.core.tasks import TaskSpec
from segduet.core.volume import Volume
from segduet.metrics.overlap import dsc, iou
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
) -> CaseScores:
    """Measures one case in native geometry.

    Voxels with the reference's ignore value are left out of both masks. Without a reference mask
    (`None` for both volumes) only the class answers are kept.

    Args:
        record: the case's ids.
        reference: (1, Z, Y, X) integer label map.
        prediction: (1, Z, Y, X) integer label map on the same grid.
        labels: what the values mean.
        answers: task name -> answer.

    Raises:
        DataError: the two grids differ, or a value is not declared.
    """
    if reference is None or prediction is None:
        return CaseScores(case=record.case, patient=record.patient, answers=answers)
    _check_grid(record.case, reference, prediction)
    _check_values(record.case, "reference mask", reference.array, labels)
    _check_values(record.case, "predicted mask", prediction.array, labels)
    counted = np.ones(reference.array.shape, dtype=bool)
    if labels.ignore_value is not None:
        counted = reference.array != labels.ignore_value
    segmentation, volumes = {}, {}
    for name, members in scored_regions(labels).items():
        segmentation[name], volumes[name] = _score_region(
            np.isin(reference.array, members) & counted,
            np.isin(prediction.array, members) & counted,
            reference.geometry.voxel_volume_ml,
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
    reference: np.ndarray, prediction: np.ndarray, voxel_ml: float
) -> tuple[dict[str, Score], tuple[float, float]]:
    scores = {
        "dsc": dsc(reference, prediction),
        "iou": iou(reference, prediction),
        "volume_difference_ml": Score(
            value=volume_difference_ml(reference, prediction, voxel_volume_ml=voxel_ml)
        ),
    }
    volumes = (
        volume_ml(reference, voxel_volume_ml=voxel_ml),
        volume_ml(prediction, voxel_volume_ml=voxel_ml),
    )
    return scores, volumes


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


def _check_values(case: str, what: str, array: np.ndarray, labels: LabelScheme) -> None:
    unknown = sorted(set(np.unique(array).tolist()) - set(labels.values))
    if unknown:
        raise DataError(
            f"case {case!r}, {what}",
            found=f"label values {unknown[:5]}",
            expected=f"only {list(labels.values)}, as dataset.json declares",
            remedy="Remap the mask, or declare the label.",
        )
