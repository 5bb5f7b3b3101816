"""A patient model on disk: its training data and settings, from which it is fitted again.

Scikit-learn's own files are pickles, which run what they hold; tables and JSON do not. Fitting is
deterministic, takes seconds, and gives the same answers with the same scikit-learn.
"""

from importlib import metadata
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from segduet.core.description import validated
from segduet.core.errors import DataError
from segduet.core.files import read_csv, read_json, write_json, write_text
from segduet.core.labels import LabelScheme
from segduet.core.tasks import TaskSpec
from segduet.evaluation.case_models import FeatureTable
from segduet.evaluation.patient_models import (
    PatientData,
    PatientModel,
    PatientModelSettings,
    fit_patient_model,
)
from segduet.evaluation.patients import PatientRule

MODEL_FILE = "patient-model.json"


class MeasureRecord(BaseModel):
    """How images were measured and their answers joined; new images must be treated alike.

    Attributes:
        walls: (wall, cavity) regions whose thickness is measured.
        order_by: region whose volume orders a patient's images; None for single images.
        with_intensity: whether intensities are measured.
        rule: how a patient's images answer together; None without a network's answers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    walls: tuple[tuple[str, str], ...] = ()
    order_by: str | None = None
    with_intensity: bool = False
    rule: PatientRule | None = None


class PatientModelRecord(BaseModel):
    """Everything about a patient model but its training tables.

    Attributes:
        task: the question.
        labels: as in dataset.json.
        regions_class_order: as in dataset.json.
        measures: how images were measured.
        settings: of the parts.
        classes: training patient -> class name, in the order of the tables.
        blocks: names of the feature tables.
        answers: names of the parts that need no fitting.
        chosen: the part that was chosen, checked when it is fitted again.
        scikit_learn: version it was fitted with.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    task: TaskSpec
    labels: dict[str, int | list[int]]
    regions_class_order: list[int] | None = None
    measures: MeasureRecord
    settings: PatientModelSettings
    classes: dict[str, str]
    blocks: tuple[str, ...]
    answers: tuple[str, ...]
    chosen: str
    scikit_learn: str = metadata.version("scikit-learn")

    @property
    def label_scheme(self) -> LabelScheme:
        """The labels as regions or plain labels."""
        return LabelScheme.from_dataset_json(
            self.labels, self.regions_class_order, where=MODEL_FILE
        )

    @property
    def class_indices(self) -> np.ndarray:
        """(N,) int64 of the training patients."""
        indices = [self.task.index(c, where=f"{MODEL_FILE}, {p}") for p, c in self.classes.items()]
        return np.array(indices, dtype=np.int64)


def write_patient_model(folder: Path, record: PatientModelRecord, data: PatientData) -> None:
    """Writes the tables, then the record; every file atomically, no pickle.

    Args:
        folder: target.
        record: of the model.
        data: its training patients, in the record's order.
    """
    assert tuple(record.classes) == data.patients
    for block, table in data.features.items():
        write_text(folder / _table_name(block), table.to_csv(index="patient"))
    for part, answers in data.answers.items():
        table = FeatureTable(rows=data.patients, names=record.task.classes, values=answers)
        write_text(folder / _table_name(part), table.to_csv(index="patient"))
    write_json(folder / MODEL_FILE, record.model_dump(mode="json"))


def read_patient_model(folder: Path) -> tuple[PatientModelRecord, PatientModel]:
    """Reads a model and fits it again.

    Raises:
        DataError: a file is missing or damaged, or the model that was fitted again chose another
            part than the record says (its tables were changed, or scikit-learn's results were).
    """
    source = folder / MODEL_FILE
    record = validated(PatientModelRecord, read_json(source), where=str(source))
    patients = tuple(record.classes)
    data = PatientData(
        patients=patients,
        features={b: _read_table(folder / _table_name(b), patients) for b in record.blocks},
        answers={p: _read_table(folder / _table_name(p), patients).values for p in record.answers},
    )
    model = fit_patient_model(
        data, record.class_indices, record.settings, class_names=record.task.classes
    )
    if model.stack.chosen != record.chosen:
        raise DataError(
            str(source),
            found=f"{model.stack.chosen!r} chosen when the model was fitted again",
            expected=f"{record.chosen!r}, as with scikit-learn {record.scikit_learn}",
            remedy="Restore its files, install that version, or fit the model anew.",
        )
    return record, model


def _table_name(block: str) -> str:
    return f"training-{block}.csv"


def _read_table(source: Path, patients: tuple[str, ...]) -> FeatureTable:
    columns, rows = read_csv(source)
    if columns[0] != "patient" or tuple(row["patient"] for row in rows) != patients:
        raise DataError(
            str(source),
            found="other patients than in the record",
            expected=f"the {len(patients)} patients of {MODEL_FILE}, in its order",
            remedy="Restore the file.",
        )
    try:
        numbers = [[float(row[c]) if row[c] else np.nan for c in columns[1:]] for row in rows]
    except ValueError as error:
        raise DataError(
            str(source), found=str(error), expected="numbers", remedy="Restore the file."
        ) from error
    values = np.asarray(numbers, dtype=np.float64).reshape(len(rows), len(columns) - 1)
    return FeatureTable(rows=patients, names=tuple(columns[1:]), values=values)
