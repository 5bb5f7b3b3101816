"""Where the units of a study read and write: its dataset, the models, predictions and scores."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from segduet.core.errors import RequestError
from segduet.core.folders import DatasetFolders
from segduet.core.plan import Plan
from segduet.dataset.folds import read_splits
from segduet.nnunet.plan_choice import only_plan
from segduet.scale.study import Study
from segduet.scale.variants import Variant

# What the commands call their files; a test holds the names against the commands' own.
MODEL_FILE = "model.safetensors"
CHECKPOINT = "checkpoint_latest.safetensors"
MANIFEST = "manifest.json"
SCORES = "scores.csv"
SUMMARY = "summary.json"
ANSWERS = "predictions.csv"
PROGRESS = "progress.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """The folders of a study, all absolute.

    Attributes:
        folders: of the dataset.
        plan: the one that is trained with.
        num_folds: folds the dataset has.
    """

    study: Study
    folders: DatasetFolders
    plan: Plan
    num_folds: int

    @classmethod
    def of(cls, study: Study) -> Self:
        """Opens the study's dataset.

        Raises:
            RequestError: no such dataset, it is not planned, several plans fit, or no such fold.
            DataError: one of its files is damaged.
        """
        folders = study.root.dataset(str(study.dataset))
        plan = Plan.read(folders.plan_file(study.plans or only_plan(folders)))
        places = cls(
            study=study,
            folders=folders,
            plan=plan,
            num_folds=len(read_splits(folders.splits_file)),
        )
        places._refuse_unknown_folds()
        return places

    def _refuse_unknown_folds(self) -> None:
        unknown = [f for f in self.study.folds if isinstance(f, int) and f >= self.num_folds]
        if unknown:
            raise RequestError(
                f"study {self.study.source}, folds",
                found=f"fold {unknown[0]} where {self.folders.splits_file} has {self.num_folds}",
                expected=f"numbers from 0 to {self.num_folds - 1}, or all",
                remedy="Choose among them.",
            )

    @property
    def training_inputs(self) -> tuple[Path, ...]:
        """What every training reads, whatever its configuration."""
        folder = self.folders.preprocessed
        return (
            folder / "dataset.json",
            folder / "cases.csv",
            self.folders.splits_file,
            self.folders.plan_file(self.plan.plans_name),
        )

    def prepared(self, variant: Variant) -> Path:
        """The folder of the cases that a model learns from."""
        configuration = self.plan.configuration(variant.configuration)
        return self.folders.preprocessed / configuration.data_identifier

    def trainer(self, variant: Variant) -> str:
        """First part of a model folder's name."""
        return f"{self.study.name}-{variant.what}-s{variant.seed}"

    def fold(self, variant: Variant, fold: int | str) -> Path:
        """The run folder of one training."""
        return self.folders.run(
            self.trainer(variant), self.plan.plans_name, variant.configuration, str(fold)
        )

    def model(self, variant: Variant) -> Path:
        """The folder of a model with all its folds."""
        return self.fold(variant, 0).parent

    def predictions(self, variant: Variant) -> Path:
        """What the model said about the new cases."""
        return self.study.out_folder / "predictions" / variant.name

    def evaluation(self, variant: Variant) -> Path:
        """How that was scored."""
        return self.study.out_folder / "evaluations" / variant.name

    def validation(self, variant: Variant, fold: int | str) -> Path:
        """How a training was scored on its fold's cases."""
        return self.fold(variant, fold) / "validation"
