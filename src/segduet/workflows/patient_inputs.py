"""What is known about each patient: measured masks, frozen features, the network's answers."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile, is_zipfile

import numpy as np

from segduet.core.errors import DataError, RequestError
from segduet.core.files import read_csv
from segduet.core.labels import LabelScheme
from segduet.core.scores import Score
from segduet.core.tasks import TaskSpec
from segduet.evaluation.case_models import FeatureTable
from segduet.evaluation.patient_model_file import MeasureRecord
from segduet.evaluation.patient_models import PatientData
from segduet.evaluation.patients import (
    PatientRule,
    evidence_weighted_answer,
    mean_answer,
    order_statistics,
)
from segduet.inference.answers_file import AnswerRow, read_answers
from segduet.io.images import read_image, read_label_map
from segduet.morphometry.case import MeasurePlan, measure_case
from segduet.morphometry.patient import measure_patient
from segduet.workflows.reference_dataset import ReferenceDataset

#: Logarithms of probabilities are taken from here on.
_FLOOR = 1e-6

MaskOf = Callable[[str], Path]


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientSources:
    """Where the parts come from.

    Attributes:
        dataset: images and case table.
        labels: meaning of the masks.
        measures: how to measure and join.
        answers: case -> the network's answers to the task; empty where there are none.
        features: case -> (F,) frozen features; empty where there are none.
        workers: threads.
    """

    dataset: ReferenceDataset
    labels: LabelScheme
    task: TaskSpec
    measures: MeasureRecord
    answers: Mapping[str, AnswerRow]
    features: Mapping[str, np.ndarray]
    workers: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectedPatients:
    """Patients with what is known about them.

    Attributes:
        data: for the models.
        morphometry: patient -> its measurements, with reasons where undefined.
        without_evidence: patients none of whose images has evidence, weighed alike instead.
    """

    data: PatientData
    morphometry: Mapping[str, Mapping[str, Score]]
    without_evidence: tuple[str, ...]


def collect_patients(
    sources: PatientSources, patients: Mapping[str, Sequence[str]], mask_of: MaskOf
) -> CollectedPatients:
    """Measures every image and joins those of a patient.

    The network's answers become a part where the cases have any; then all must have one.

    Args:
        sources: where the parts come from.
        patients: patient -> its cases.
        mask_of: case -> label map to measure; raises where there is none.

    Raises:
        DataError: a mask is missing, damaged or on another grid than the image; some cases have no
            answer, or no frozen features.
    """
    morphometry = _morphometry(sources, patients, mask_of)
    features = {"morphometry": FeatureTable.of(morphometry)}
    cases = [case for members in patients.values() for case in members]
    if sources.features:
        _check_complete(cases, sources.features, "frozen features")
        features["features"] = _feature_block(sources.features, patients)
    answers: dict[str, np.ndarray] = {}
    rule = sources.measures.rule
    if rule is not None and any(case in sources.answers for case in cases):
        _check_complete(cases, sources.answers, f"answer to {sources.task.name!r}")
        if rule is PatientRule.TRAINED:
            features["probabilities"] = _probability_block(sources, patients)
        else:
            answers[f"network_{rule.value}"] = _joined_answers(sources, patients)
    return CollectedPatients(
        data=PatientData(patients=tuple(patients), features=features, answers=answers),
        morphometry=morphometry,
        without_evidence=_without_evidence(sources, patients) if answers else (),
    )


def _check_complete(cases: Sequence[str], known: Mapping[str, object], what: str) -> None:
    missing = [case for case in cases if case not in known]
    if missing:
        raise DataError(
            f"case {missing[0]!r}",
            found=f"no {what} ({len(missing)} of {len(cases)} cases without)",
            expected="one for every image of every patient, or for none",
            remedy="Predict the missing cases too; a failed case is not left out silently.",
        )


def _morphometry(
    sources: PatientSources, patients: Mapping[str, Sequence[str]], mask_of: MaskOf
) -> dict[str, dict[str, Score]]:
    plan = MeasurePlan(labels=sources.labels, walls=sources.measures.walls)
    images = sources.dataset.image_files() if sources.measures.with_intensity else {}

    def measure(case: str) -> dict[str, Score]:
        volume = read_label_map(mask_of(case))
        image = None
        if sources.measures.with_intensity:
            image = _image(case, images)
            if image.shape[1:] != volume.geometry.shape_zyx:
                raise DataError(
                    f"case {case!r}",
                    found=f"an image of {image.shape[1:]} voxels beside a mask of "
                    f"{volume.geometry.shape_zyx}",
                    expected="both on one grid",
                    remedy="Predict the case from this image, or leave --intensity out.",
                )
        return measure_case(volume.array[0], volume.geometry, plan, image)

    cases = [case for members in patients.values() for case in members]
    with ThreadPoolExecutor(max(1, sources.workers)) as pool:
        measured = dict(zip(cases, pool.map(measure, cases), strict=True))
    order_by = sources.measures.order_by
    return {
        patient: measure_patient([measured[c] for c in members], order_by=order_by)
        for patient, members in patients.items()
    }


def _image(case: str, images: Mapping[str, Sequence[Path]]) -> np.ndarray:
    if case not in images:
        raise DataError(
            f"case {case!r}",
            found="no image in the dataset",
            expected="an image, whose intensities are to be measured",
            remedy="Add the image, or leave --intensity out.",
        )
    return read_image(images[case]).array


def _feature_block(
    features: Mapping[str, np.ndarray], patients: Mapping[str, Sequence[str]]
) -> FeatureTable:
    width = len(next(iter(features.values())))
    names = [f"feature{i}" for i in range(width)]
    rows = {
        patient: order_statistics(names, np.stack([features[c] for c in members]))
        for patient, members in patients.items()
    }
    return FeatureTable.of(rows)


def _probability_block(
    sources: PatientSources, patients: Mapping[str, Sequence[str]]
) -> FeatureTable:
    names = [f"log_probability:{name}" for name in sources.task.classes]
    rows = {
        patient: order_statistics(names, np.log(np.maximum(_stacked(sources, members), _FLOOR)))
        for patient, members in patients.items()
    }
    return FeatureTable.of(rows)


def _stacked(sources: PatientSources, cases: Sequence[str]) -> np.ndarray:
    """The network's answers to the cases of a patient: (M, K)."""
    return np.array([sources.answers[c].probabilities[sources.task.name] for c in cases])


def _evidence(sources: PatientSources, cases: Sequence[str]) -> np.ndarray:
    return np.array([sources.answers[c].evidence[sources.task.name] for c in cases])


def _joined_answers(sources: PatientSources, patients: Mapping[str, Sequence[str]]) -> np.ndarray:
    if sources.measures.rule is PatientRule.MEAN:
        return np.array([mean_answer(_stacked(sources, m)) for m in patients.values()])
    joined = [
        evidence_weighted_answer(_stacked(sources, m), _evidence(sources, m))
        for m in patients.values()
    ]
    return np.array(joined)


def _without_evidence(
    sources: PatientSources, patients: Mapping[str, Sequence[str]]
) -> tuple[str, ...]:
    if sources.measures.rule is not PatientRule.EVIDENCE_WEIGHTED:
        return ()
    return tuple(p for p, m in patients.items() if not _evidence(sources, m).any())


def read_network_answers(
    predictions: Path, tasks: Sequence[TaskSpec], task: TaskSpec
) -> dict[str, AnswerRow]:
    """The network's answers by case, without failed ones; empty where the folder has none.

    Args:
        predictions: folder that `predict` wrote, or masks alone.
        tasks: the dataset's tasks.
        task: the one that is asked for.

    Raises:
        DataError: the table is damaged.
    """
    source = predictions / "predictions.csv"
    columns = read_csv(source)[0] if source.is_file() else []
    if task.name not in columns:
        return {}
    answered = [t for t in tasks if t.name in columns]
    return {row.case: row for row in read_answers(source, answered) if row.status == "ok"}


def read_frozen_features(source: Path) -> dict[str, np.ndarray]:
    """Pooled features of a network: an .npz with one (F,) array per case, named as the case.

    Raises:
        RequestError: no such file.
        DataError: not an .npz, or arrays that are not finite vectors of one length.
    """
    if not source.is_file():
        raise RequestError(
            str(source), found="no such file", expected="an .npz", remedy="Check --features."
        )
    try:
        if not is_zipfile(source):
            raise BadZipFile("no archive of arrays")
        with np.load(source, allow_pickle=False) as content:
            features = {case: np.asarray(content[case]) for case in content.files}
    except (OSError, ValueError, BadZipFile) as error:
        raise DataError(
            str(source),
            found=f"a file that cannot be read ({error})",
            expected="an .npz with one numeric vector per case",
            remedy="Write it again.",
        ) from error
    shapes = {array.shape for array in features.values()}
    is_finite = all(a.dtype.kind in "iuf" and np.isfinite(a).all() for a in features.values())
    if len(shapes) != 1 or len(next(iter(shapes))) != 1 or not is_finite:
        raise DataError(
            str(source),
            found=f"{len(features)} arrays of shapes {sorted(shapes)[:3]}"
            + ("" if is_finite else ", some not finite"),
            expected="one finite vector per case, all of one length",
            remedy="Write it again.",
        )
    return features
