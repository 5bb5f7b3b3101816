"""What `segduet patients` can be asked for."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from segduet.core.cases import Split
from segduet.evaluation.patient_models import PatientModelSettings
from segduet.evaluation.patients import PatientRule

#: Which masks the training patients are measured on.
FitMasks = Literal["predicted", "reference"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientsRequest:
    """What to fit on and whom to answer.

    The network's answers and features of the training patients must come from networks that were
    not trained on these patients (such as each fold's validation cases): in-sample ones look
    certain and the models learn to trust them. Measured reference masks have no such trap.

    Attributes:
        dataset: a dataset, or a folder with dataset.json, cases.csv, images and masks.
        predictions: folder with predicted masks and, if the network classifies, predictions.csv.
        features: .npz of frozen features, one vector per case.
        task: the question; None where the dataset has only one.
        rule: how a patient's images answer together; None is the mean, where there are answers.
        walls: (wall, cavity) regions whose thickness is measured.
        order_by: region whose volume orders a patient's images; None is the task's evidence region.
        with_intensity: measure intensities too.
        fit_split: the patients to fit on; used with a score split.
        score_split: the patients to answer; None fits on and answers all with a class, out of fold.
        fit_masks: masks the training patients are measured on.
        settings: models; folds of the choice among parts and, without a score split, of the
            answers; seed, also of the intervals.
        selected_from: candidates these predictions were chosen from on the answered patients.
        workers: threads.
    """

    dataset: str
    predictions: Path
    out: Path
    features: Path | None = None
    task: str | None = None
    rule: PatientRule | None = None
    walls: tuple[tuple[str, str], ...] = ()
    order_by: str | None = None
    with_intensity: bool = False
    fit_split: Split = "train"
    score_split: Split | None = None
    fit_masks: FitMasks = "predicted"
    settings: PatientModelSettings = field(default_factory=PatientModelSettings)
    selected_from: int = 1
    workers: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyRequest:
    """Patients to answer with a model fitted before.

    Attributes:
        model: the folder `model` that fitting wrote.
        dataset: as in `PatientsRequest`; its classes may be unknown.
        predictions: as in `PatientsRequest`.
        features: as in `PatientsRequest`; needed where the model was fitted with them.
        score_split: the patients to answer; None answers all.
        seed: of the intervals.
        workers: threads.
    """

    model: Path
    dataset: str
    predictions: Path
    out: Path
    features: Path | None = None
    score_split: Split | None = None
    seed: int = 0
    workers: int = 1
