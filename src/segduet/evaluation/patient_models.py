"""One answer per patient from measurements, frozen features and the network's own answers.

N patients, K classes. Every part is reported; one of them, or their fusion, is chosen by
out-of-fold answers of the training patients alone.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from segduet.core.errors import DataError
from segduet.evaluation.case_models import (
    CaseModel,
    FeatureTable,
    ForestSettings,
    LogisticSettings,
    ModelSettings,
    fit_case_model,
    group_folds,
    out_of_fold,
)
from segduet.evaluation.stacking import Stack, fit_stack

#: The answers a user should take: those of the part, or the fusion, that was chosen.
CHOSEN = "chosen"


class PatientModelSettings(BaseModel):
    """How the parts are fitted.

    Attributes:
        models: block of features -> models fitted on it; each is a part `<block>_<kind>`.
        num_folds: folds of the out-of-fold answers that choose and fuse.
        seed: of folds and forests.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    models: dict[str, tuple[ModelSettings, ...]] = Field(
        default={
            "morphometry": (ForestSettings(), LogisticSettings()),
            "features": (LogisticSettings(),),
            "probabilities": (LogisticSettings(),),
        }
    )
    num_folds: int = Field(default=5, ge=2)
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientData:
    """What is known about each patient, beside the class.

    Attributes:
        patients: (N,) ids, each once.
        features: block -> features, rows are the patients.
        answers: part -> (N, K) answers that need no fitting, such as the mean over the images.
    """

    patients: tuple[str, ...]
    features: Mapping[str, FeatureTable] = field(default_factory=dict)
    answers: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        assert self.features or self.answers, "nothing is known about the patients"
        assert all(table.rows == self.patients for table in self.features.values())
        assert all(len(answers) == len(self.patients) for answers in self.answers.values())

    def of_rows(self, rows: np.ndarray) -> Self:
        """The patients of these places."""
        patients = tuple(self.patients[i] for i in rows)
        return type(self)(
            patients=patients,
            features={block: table.of_rows(patients) for block, table in self.features.items()},
            answers={part: answers[rows] for part, answers in self.answers.items()},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientModel:
    """Fitted parts and the decision among them.

    Attributes:
        models: part -> (block it reads, model).
        stack: the decision.
    """

    models: Mapping[str, tuple[str, CaseModel]]
    stack: Stack

    def answers(self, data: PatientData) -> dict[str, np.ndarray]:
        """Answers of every part, of their fusion and, as `chosen`, of what was chosen.

        Raises:
            DataError: the data lack a block, a feature or an answer the model was fitted on.
        """
        blocks = {block for block, _ in self.models.values()}
        unfitted = [part for part in self.stack.parts if part not in self.models]
        missing = sorted(blocks - set(data.features)) + sorted(set(unfitted) - set(data.answers))
        if missing:
            raise DataError(
                "patients to answer",
                found=f"no {missing[0]!r}",
                expected=f"{sorted(blocks)} and {unfitted}, which the model was fitted on",
                remedy="Give the same kind of predictions and features as for fitting.",
            )
        parts = {
            part: model.probabilities(data.features[block])
            for part, (block, model) in self.models.items()
        }
        parts |= {part: np.asarray(data.answers[part]) for part in unfitted}
        answers = self.stack.answers(parts)
        return {**answers, CHOSEN: answers[self.stack.chosen]}


def fit_patient_model(
    data: PatientData,
    classes: np.ndarray,
    settings: PatientModelSettings,
    *,
    class_names: Sequence[str],
) -> PatientModel:
    """Fits every part on all patients, and chooses by out-of-fold answers.

    Equal arguments give equal answers, so the training data with the settings are the model.

    Args:
        data: training patients.
        classes: (N,) integer class indices.
        settings: which models, folds and seed.
        class_names: (K,).

    Raises:
        DataError: a class with fewer patients than folds, or a block without a defined feature.
    """
    num_classes = len(class_names)
    folds = group_folds(
        data.patients,
        classes,
        class_names=class_names,
        num_folds=settings.num_folds,
        seed=settings.seed,
    )
    held_out = {part: np.asarray(answers) for part, answers in data.answers.items()}
    models: dict[str, tuple[str, CaseModel]] = {}
    for block, table in data.features.items():
        for chosen in settings.models[block]:
            part = f"{block}_{chosen.kind}"
            models[part] = (
                block,
                fit_case_model(chosen, table, classes, num_classes=num_classes, seed=settings.seed),
            )
            held_out[part] = out_of_fold(
                chosen, table, classes, folds, num_classes=num_classes, seed=settings.seed
            )
    return PatientModel(
        models=models, stack=fit_stack(held_out, classes, folds, num_classes=num_classes)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossAnswers:
    """Answers for every patient by models that did not see them.

    Attributes:
        answers: part, `fused`, `chosen` -> (N, K).
        chosen: part -> in how many folds it was chosen.
    """

    answers: Mapping[str, np.ndarray]
    chosen: Mapping[str, int]


def cross_answers(
    fitted_on: PatientData,
    answered: PatientData,
    classes: np.ndarray,
    settings: PatientModelSettings,
    *,
    class_names: Sequence[str],
) -> CrossAnswers:
    """Fits, chooses and fuses within each training part of the folds; answers the rest.

    The choice is made anew inside every fold, so the figures of `chosen` are not those of the
    best of several on the patients it was chosen on.

    Args:
        fitted_on: data of all patients as a model is fitted on them (such as reference masks).
        answered: data of the same patients as they are to be answered (predicted masks).
        classes: (N,) integer class indices.
        settings: which models, folds and seed; the inner folds have the next seed.
        class_names: (K,).

    Raises:
        DataError: too few patients of a class for folds within folds.
    """
    assert fitted_on.patients == answered.patients
    inner = settings.model_copy(update={"seed": settings.seed + 1})
    folds = group_folds(
        answered.patients,
        classes,
        class_names=class_names,
        num_folds=settings.num_folds,
        seed=settings.seed,
    )
    found: dict[str, np.ndarray] = {}
    chosen: Counter[str] = Counter()
    for held_out in folds:
        kept = np.setdiff1d(np.arange(len(classes)), held_out)
        model = fit_patient_model(
            fitted_on.of_rows(kept), classes[kept], inner, class_names=class_names
        )
        chosen[model.stack.chosen] += 1
        for part, answers in model.answers(answered.of_rows(held_out)).items():
            whole = found.setdefault(part, np.full((len(classes), len(class_names)), np.nan))
            whole[held_out] = answers
    return CrossAnswers(answers=found, chosen=dict(chosen))


def num_candidates(parts: Mapping[str, np.ndarray]) -> int:
    """How many answers `chosen` was chosen from: every part, and their fusion if there is one."""
    return len([part for part in parts if part != CHOSEN])
