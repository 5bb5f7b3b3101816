"""Both tasks measured on the full validation cases of a fold, as `predict` would answer them."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from segduet.core.cases import CaseRecord
from segduet.core.files import write_json
from segduet.core.plan import ConfigurationPlan
from segduet.core.prediction import Prediction
from segduet.core.prepared import PreparedCase
from segduet.core.scores import CaseScores
from segduet.core.tasks import TaskSpec
from segduet.core.volume import Volume
from segduet.evaluation.cohort import summarize
from segduet.evaluation.scores_file import write_scores
from segduet.evaluation.scoring import class_answer, score_case
from segduet.inference.answers_file import AnswerRow, write_answers
from segduet.inference.engine import Engine
from segduet.inference.engines.torch_engine import Precision, TorchEngine
from segduet.inference.predictor import predict_prepared
from segduet.inference.prepared_answer import PreparedAnswer
from segduet.inference.settings import PredictionSettings
from segduet.io.images import read_label_map, write_label_map
from segduet.networks.joint import JointNetwork
from segduet.nnunet.stage_predictions import StagePredictions
from segduet.nnunet.store import PreparedStore
from segduet.preparation.cascade import decide_on_next_grid, with_previous_stage
from segduet.training.devices import Compute
from segduet.training.selection import MEAN_FOREGROUND
from segduet.workflows.planned_dataset import PlannedDataset

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class FullCaseValidator:
    """Predicts prepared cases whole and scores them on their native grid (B09).

    Several processes share the cases out; every one gets the figures of all.

    Attributes:
        tasks: what the network answers.
        cases: validation cases of the fold.
        mirrored: whether to average over mirrored windows, as `predict` does by default.
        previous: label maps of the stage before, that the network is fed with (a cascade).
        handed_on: where `write` leaves label maps for the configurations of these names.
    """

    planned: PlannedDataset
    configuration: ConfigurationPlan
    tasks: tuple[TaskSpec, ...]
    store: PreparedStore
    cases: Sequence[str]
    compute: Compute
    mirrored: bool
    previous: StagePredictions | None = None
    handed_on: Mapping[str, StagePredictions] = field(default_factory=dict)

    def measure(self, network: JointNetwork) -> dict[str, Any]:
        """Means over the cases, for the history and for choosing among epochs.

        Returns:
            `dsc` (region, and `mean_foreground`, -> mean or None), `task_score` (task -> macro-F1,
            of a regression R2 but at least 0, or None), `score` (mean of the mean foreground DSC
            and the task scores that could be measured, or None), `confusion` (task -> matrix of
            those with classes) and `n`.
        """
        engine = self._engine(network)
        scores = self._of_all(
            [self._score(self._restored(*self._answer(engine, c))) for c in self._own_cases]
        )
        summary = self._summary(scores, selected_from=1)
        answers = summary["classification"]
        dsc = {
            region: figures["dsc"]["mean"] for region, figures in summary["segmentation"].items()
        }
        task_scores = {task: _task_score(figures) for task, figures in answers.items()}
        measured = [v for v in (dsc.get(MEAN_FOREGROUND), *task_scores.values()) if v is not None]
        return {
            "score": float(np.mean(measured)) if measured else None,
            "dsc": dsc,
            "task_score": task_scores,
            "confusion": {
                task: figures["confusion_matrix"]
                for task, figures in answers.items()
                if "confusion_matrix" in figures
            },
            "n": len(scores),
        }

    def write(self, network: JointNetwork, folder: Path, selected_from: int) -> dict[str, Any]:
        """Writes masks, predictions.csv, scores.csv and summary.json; returns the summary.

        Other configurations are handed theirs.

        Args:
            selected_from: how many candidates the model was chosen from on these very cases.
        """
        engine = self._engine(network)
        rows, scores = [], []
        ending = self.planned.description.file_ending
        for case in self._own_cases:
            prepared, answer = self._answer(engine, case)
            self._hand_on(prepared, answer)
            prediction = self._restored(prepared, answer)
            target = folder / f"{case}{ending}"
            if prediction.label_map is not None:
                write_label_map(target, prediction.label_map, prediction.geometry)
            scores.append(self._score(prediction))
            rows.append(AnswerRow.of(prediction, self.tasks))
        rows, scores = self._of_all(rows), self._of_all(scores)
        summary = self._summary(scores, selected_from=selected_from)
        if self.compute.processes.is_first:
            write_answers(folder / "predictions.csv", rows, self.tasks)
            write_scores(folder / "scores.csv", scores, self.tasks)
            write_json(folder / "summary.json", summary)
        return summary

    @property
    def _own_cases(self) -> Sequence[str]:
        processes = self.compute.processes
        return self.cases[processes.rank :: processes.size]

    def _of_all(self, own: Sequence[Item]) -> list[Item]:
        """One's own cases' items to those of all cases, in their order."""
        rounds = itertools.zip_longest(*self.compute.processes.gathered(own))
        return [item for turn in rounds for item in turn if item is not None]

    def _engine(self, network: JointNetwork) -> Engine:
        return TorchEngine(
            network,
            num_spatial_dims=self.configuration.num_spatial_dims,
            device=str(self.compute.device),
            precision=Precision(self.compute.precision),
        )

    def _answer(self, engine: Engine, case: str) -> tuple[PreparedCase, PreparedAnswer]:
        stored = self.store.open(case)
        prepared = PreparedCase(
            case=case, image=stored.image[:], label_map=None, placement=stored.placement
        )
        if self.previous is not None:
            fed = self.previous.open(case, stored.placement.prepared_shape)[:]
            prepared = with_previous_stage(prepared, fed, self.planned.labels)
        axes = tuple(range(self.configuration.num_spatial_dims)) if self.mirrored else ()
        answer = predict_prepared(
            engine,
            prepared,
            patch_zyx=self.configuration.patch_size_zyx,
            tasks=self.tasks,
            settings=PredictionSettings(mirror_axes=axes),
        )
        return prepared, answer

    def _restored(self, prepared: PreparedCase, answer: PreparedAnswer) -> Prediction:
        return answer.on_native_grid(
            prepared, configuration=self.configuration, labels=self.planned.labels
        )

    def _hand_on(self, prepared: PreparedCase, answer: PreparedAnswer) -> None:
        for name, predictions in self.handed_on.items():
            label_map = decide_on_next_grid(
                answer.logits,
                placement=prepared.placement,
                configuration=self.configuration,
                next_configuration=self.planned.plan.configuration(name),
                labels=self.planned.labels,
            )
            predictions.write(prepared.case, label_map)

    def _score(self, prediction: Prediction) -> CaseScores:
        record = self.planned.table.record(prediction.case)
        reference = predicted = None
        is_masked = self.store.open(prediction.case).has_label_map
        if is_masked and prediction.label_map is not None:
            reference = read_label_map(self._reference(record))
            predicted = Volume(array=prediction.label_map[None], geometry=reference.geometry)
        answers = {
            task.name: class_answer(record, task, prediction.probabilities[task.name])
            for task in self.tasks
        }
        return score_case(
            record,
            reference,
            predicted,
            labels=self.planned.labels,
            answers=answers,
        )

    def _reference(self, record: CaseRecord) -> Path:
        ending = self.planned.description.file_ending
        return self.planned.folders.preprocessed / "gt_segmentations" / f"{record.case}{ending}"

    def _summary(self, scores: Sequence[CaseScores], *, selected_from: int) -> dict[str, Any]:
        return summarize(
            scores, self.planned.labels, self.tasks, seed=0, selected_from=selected_from
        ).to_json()


def _task_score(figures: Mapping[str, Any]) -> float | None:
    """One number between 0 and 1 that says how well a task is answered; None where undefined."""
    value: float | None = figures["macro_f1" if "macro_f1" in figures else "r2"]["value"]
    return value if value is None else max(0.0, value)
