"""Diagnosis of ACDC patients from measured masks: what true masks allow, what predicted ones do.

Usage: python benchmarks/acdc_patients.py --data ../shared/data [--predictions NAME=DIR ...]

True masks: 5 patient folds over all 80 patients of `acdc_small`, three seeds of folds and forests.
Predictions (folders with masks of the `val` patients): fitted on the true masks of the `train`
patients, scored on the predicted masks. Regions, walls and order are declared, nothing is tuned
here; what was tried while the measurements were built is `selected_from`. Writes
docs/results/acdc_patients.json.
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from results_file import write_result
from segduet.core.files import read_csv
from segduet.core.labels import LabelScheme
from segduet.core.tasks import TaskSpec
from segduet.evaluation.case_models import FeatureTable
from segduet.evaluation.classification import TaskAnswers, task_figures
from segduet.evaluation.patient_models import (
    PatientData,
    PatientModelSettings,
    cross_answers,
    fit_patient_model,
)
from segduet.io.images import read_label_map
from segduet.morphometry.case import MeasurePlan, measure_case
from segduet.morphometry.patient import measure_patient

SEEDS = (0, 1, 2)
TASK = TaskSpec(name="class", classes=("DCM", "HCM", "MINF", "NOR", "RV"), evidence_region="LV")
PLAN = MeasurePlan(
    labels=LabelScheme.from_dataset_json(
        {"background": 0, "RV": 1, "MYO": 2, "LV": 3}, None, where="ACDC"
    ),
    walls=(("MYO", "LV"),),
)
#: Feature sets and models looked at once on the same 80 patients while this was written: volumes,
#: volumes with thickness, all; forest, logistic, extra trees.
SELECTED_FROM = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """One patient of the table."""

    name: str
    diagnosis: str
    split: str
    cases: tuple[str, ...]


def main() -> None:
    """Measures, fits, scores, writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--predictions", action="append", default=[], metavar="NAME=DIR")
    arguments = parser.parse_args()
    folder = arguments.data / "acdc_small"
    patients = read_patients(folder / "cases.csv")
    true = measured(patients, folder / "masks")
    figures: dict[str, Any] = {
        "patients": len(patients),
        "features": len(true.features["morphometry"].names),
        "selected_from": SELECTED_FROM,
        "true_masks_5_folds": {str(seed): crossed(patients, true, seed=seed) for seed in SEEDS},
        "fitted_on_true_masks_of_train_scored_on_val": {
            name: scored_on_val(patients, true, masks)
            for name, masks in {
                "true_masks": folder / "masks",
                **{n: Path(d) for n, _, d in (p.partition("=") for p in arguments.predictions)},
            }.items()
        },
    }
    print(f"written: {write_result('acdc_patients', seeds=SEEDS, figures=figures)}")


def read_patients(source: Path) -> list[Patient]:
    """Patients of the table, by name."""
    rows = read_csv(source)[1]
    first = {row["patient"]: row for row in rows}
    return [
        Patient(
            name=name,
            diagnosis=first[name]["class"],
            split=first[name]["split"],
            cases=tuple(row["case"] for row in rows if row["patient"] == name),
        )
        for name in sorted(first)
    ]


def measured(patients: list[Patient], masks: Path) -> PatientData:
    """Measurements of these patients' masks."""
    rows = {}
    for patient in patients:
        volumes = [read_label_map(masks / f"{case}.nii.gz") for case in patient.cases]
        images = [measure_case(v.array[0], v.geometry, PLAN) for v in volumes]
        rows[patient.name] = measure_patient(images, order_by=TASK.evidence_region)
    table = FeatureTable.of(rows)
    return PatientData(patients=table.rows, features={"morphometry": table})


def crossed(patients: list[Patient], data: PatientData, *, seed: int) -> dict[str, Any]:
    """Figures out of fold, the choice among the parts made within each fold."""
    found = cross_answers(
        data, data, indices(patients), PatientModelSettings(seed=seed), class_names=TASK.classes
    )
    return {**figures_of(patients, found.answers), "chosen_in_folds": dict(found.chosen)}


def scored_on_val(patients: list[Patient], true: PatientData, masks: Path) -> dict[str, Any]:
    """Figures on the masks of the val patients, by a model of the train patients' true masks."""
    train = [i for i, p in enumerate(patients) if p.split == "train"]
    val = [p for p in patients if p.split == "val"]
    classes = indices([patients[i] for i in train])
    model = fit_patient_model(
        true.of_rows(np.array(train)), classes, PatientModelSettings(), class_names=TASK.classes
    )
    found = figures_of(val, model.answers(measured(val, masks)))
    return {**found, "verdict": model.stack.verdict}


def indices(patients: list[Patient]) -> np.ndarray:
    """(N,) class of each patient."""
    return np.array([TASK.index(p.diagnosis, where=p.name) for p in patients])


def figures_of(patients: list[Patient], answers: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Accuracy and macro-F1 of every part, with intervals; printed too."""
    figures = {}
    for part, probabilities in answers.items():
        of_part = TaskAnswers(
            task=TASK,
            reference=indices(patients),
            probabilities=probabilities,
            patients=tuple(p.name for p in patients),
        )
        content = task_figures(of_part, seed=0).to_json()
        figures[part] = {name: content[name] for name in ("accuracy", "macro_f1")}
        accuracy = content["accuracy"]
        print(part, f"accuracy {accuracy['value']:.3f} {accuracy['ci95']}", flush=True)
    return figures


if __name__ == "__main__":
    main()
