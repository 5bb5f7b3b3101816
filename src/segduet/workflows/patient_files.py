"""What `segduet patients` writes: features, answers, and figures of every part side by side."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from segduet.core.answers import decide
from segduet.core.files import write_csv, write_json, write_text
from segduet.core.scores import Score
from segduet.core.tasks import TaskSpec
from segduet.evaluation.classification import TaskAnswers, task_figures
from segduet.evaluation.intervals import INTERVAL_TEXT
from segduet.evaluation.patient_models import CHOSEN, num_candidates
from segduet.evaluation.patients import patients_with_fewer_images
from segduet.workflows.patient_inputs import CollectedPatients

SCHEMA_VERSION = 1
FEATURES_FILE = "features.csv"
ANSWERS_FILE = "patients.csv"
FIGURES_FILE = "patients.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientOutcome:
    """Answers of every part, with what must be said about them.

    Attributes:
        task: the question.
        patients: patient -> its cases, in the order of the answers.
        collected: what the answers rest on.
        answers: part, `fused` and `chosen` -> (N, K).
        references: patient -> class, where it is known.
        choice: how `chosen` came to be.
        seed: of the intervals.
        selected_from: candidates the predictions themselves were chosen from.
    """

    task: TaskSpec
    patients: Mapping[str, Sequence[str]]
    collected: CollectedPatients
    answers: Mapping[str, np.ndarray]
    references: Mapping[str, str]
    choice: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    selected_from: int = 1

    def to_json(self) -> dict[str, Any]:
        """The content of patients.json."""
        return {
            "schema_version": SCHEMA_VERSION,
            "task": self.task.name,
            "n_patients": len(self.patients),
            "n_images": sum(len(cases) for cases in self.patients.values()),
            "parts": self._figures() if self.references else {},
            "choice": dict(self.choice),
            "selected_from": self.selected_from,
            "selected_from_parts": num_candidates(self.answers),
            "fewer_images": patients_with_fewer_images(self.patients),
            "without_evidence": list(self.collected.without_evidence),
            "undefined_features": _reasons(self.collected.morphometry),
            "interval": INTERVAL_TEXT,
            "seed": self.seed,
        }

    def _figures(self) -> dict[str, Any]:
        """Figures of every part over the patients whose class is known."""
        names = list(self.patients)
        known = [i for i, patient in enumerate(names) if patient in self.references]
        owners = tuple(names[i] for i in known)
        reference = [self.task.index(self.references[p], where=f"patient {p!r}") for p in owners]
        figures = {}
        for part, answers in self.answers.items():
            of_part = TaskAnswers(
                task=self.task,
                reference=np.array(reference, dtype=np.int64),
                probabilities=answers[known],
                patients=owners,
            )
            figures[part] = task_figures(of_part, seed=self.seed).to_json()
        return figures

    def write(self, folder: Path) -> None:
        """Writes features.csv, patients.csv and patients.json, each atomically."""
        table = self.collected.data.features["morphometry"]
        write_text(folder / FEATURES_FILE, table.to_csv(index="patient"))
        chances = [f"{part}:{name}" for part in self.answers for name in self.task.classes]
        rows = [self._row(i, patient) for i, patient in enumerate(self.patients)]
        columns = ["patient", "reference", "images", "answer", *chances]
        write_csv(folder / ANSWERS_FILE, columns, rows)
        write_json(folder / FIGURES_FILE, self.to_json())

    def _row(self, place: int, patient: str) -> dict[str, Any]:
        chances = {
            f"{part}:{name}": repr(float(chance))
            for part, answers in self.answers.items()
            for name, chance in zip(self.task.classes, answers[place], strict=True)
        }
        return {
            "patient": patient,
            "reference": self.references.get(patient, ""),
            "images": len(self.patients[patient]),
            "answer": decide(self.task, self.answers[CHOSEN][place]),
            **chances,
        }


def _reasons(morphometry: Mapping[str, Mapping[str, Score]]) -> dict[str, int]:
    """Why measurements are undefined -> how many."""
    reasons = Counter(s.reason for m in morphometry.values() for s in m.values() if s.reason)
    return dict(sorted(reasons.items()))
