"""Both tasks measured on the full validation cases of a fold, as `predict` would answer them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segduet.core.cases import CaseRecord
from segduet.core.files import write_json
from segduet.core.plan import ConfigurationPlan
from segduet.core.prediction import Prediction
from segduet.core.prepared import PreparedCase
from segduet.core.scores import CaseScores
from segduet.core.volume import Volume
from segduet.evaluation.cohort import summarize
from segduet.evaluation.scores_file import write_scores
from segduet.evaluation.scoring import class_answer, score_case
from segduet.inference.answers_file import AnswerRow, write_answers
from segduet.inference.engine import Engine
from segduet.inference.engines.torch_engine import Precision, TorchEngine
from segduet.inference.predictor import PredictionSettings, predict_prepared
from segduet.io.images import read_label_map, write_label_map
from segduet.networks.joint import JointNetwork
from segduet.nnunet.store import PreparedStore
from segduet.preparation.restore import restore_label_map
from segduet.training.devices import Compute
from segduet.workflows.planned_dataset import PlannedDataset


@dataclass(frozen=True, slots=True, kw_only=True)
class FullCaseValidator:
    """Predicts prepared cases whole and scores them on their native grid (B09).

    Attributes:
        cases: validation cases of the fold.
        mirrored: whether to average over mirrored windows, as `predict` does by default.
    """

    planned: PlannedDataset
    configuration: ConfigurationPlan
    store: PreparedStore
    cases: Sequence[str]
    compute: Compute
    mirrored: bool

    def measure(self, network: JointNetwork) -> dict[str, Any]:
        """Mean foreground DSC, macro-F1 per task, and their mean as the joint `score`.

        `score` is None where neither could be measured.
        """
        engine = self._engine(network)
        scores = [self._score(self._predict(engine, case)) for case in self.cases]
        summary = self._summary(scores, selected_from=1)
        dsc = summary["segmentation"].get("mean_foreground", {}).get("dsc", {}).get("mean")
        f1 = {t: v["macro_f1"]["value"] for t, v in summary["classification"].items()}
        measured = [v for v in [dsc, *f1.values()] if v is not None]
        return {
            "score": float(np.mean(measured)) if measured else None,
            "mean_foreground_dsc": dsc,
            "macro_f1": f1,
            "n": len(scores),
        }

    def write(self, network: JointNetwork, folder: Path, selected_from: int) -> dict[str, Any]:
        """Writes masks, predictions.csv, scores.csv and summary.json; returns the summary.

        Args:
            selected_from: how many candidates the model was chosen from on these very cases.
        """
        engine = self._engine(network)
        rows, scores = [], []
        ending = self.planned.description.file_ending
        for case in self.cases:
            prediction = self._predict(engine, case)
            target = folder / f"{case}{ending}"
            write_label_map(target, prediction.label_map, prediction.geometry)
            scores.append(self._score(prediction))
            rows.append(AnswerRow.of(prediction, self.planned.tasks))
        tasks = self.planned.tasks
        write_answers(folder / "predictions.csv", rows, tasks)
        write_scores(folder / "scores.csv", scores, tasks)
        summary = self._summary(scores, selected_from=selected_from)
        write_json(folder / "summary.json", summary)
        return summary

    def _engine(self, network: JointNetwork) -> Engine:
        return TorchEngine(
            network,
            num_spatial_dims=self.configuration.num_spatial_dims,
            device=str(self.compute.device),
            precision=Precision(self.compute.precision),
        )

    def _predict(self, engine: Engine, case: str) -> Prediction:
        stored = self.store.open(case)
        prepared = PreparedCase(
            case=case, image=stored.image[:], label_map=None, placement=stored.placement
        )
        axes = tuple(range(self.configuration.num_spatial_dims)) if self.mirrored else ()
        answer = predict_prepared(
            engine,
            prepared,
            patch_zyx=self.configuration.patch_size_zyx,
            settings=PredictionSettings(mirror_axes=axes),
        )
        label_map = restore_label_map(
            answer.logits,
            placement=stored.placement,
            configuration=self.configuration,
            labels=self.planned.labels,
        )
        return Prediction(
            case=case,
            label_map=label_map,
            geometry=stored.placement.native,
            probabilities=answer.probabilities,
            evidence=answer.evidence,
        )

    def _score(self, prediction: Prediction) -> CaseScores:
        record = self.planned.table.record(prediction.case)
        reference = read_label_map(self._reference(record))
        predicted = Volume(array=prediction.label_map[None], geometry=reference.geometry)
        answers = {
            task.name: class_answer(record, task, prediction.probabilities[task.name])
            for task in self.planned.tasks
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
        description = self.planned.description
        return summarize(
            scores, description.label_scheme, description.tasks, seed=0, selected_from=selected_from
        ).to_json()
