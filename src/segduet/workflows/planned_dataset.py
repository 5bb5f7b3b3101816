"""A dataset that has been planned: description, plan, case table and folds, read together."""

from dataclasses import dataclass
from typing import Self

from segduet.core.cases import CaseTable
from segduet.core.description import DatasetDescription
from segduet.core.errors import RequestError
from segduet.core.folders import DataRoot, DatasetFolders
from segduet.core.labels import LabelScheme
from segduet.core.plan import Plan
from segduet.core.tasks import TaskSpec
from segduet.dataset.folds import Fold, read_splits
from segduet.nnunet.plan_choice import only_plan


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedDataset:
    """What training, preprocessing and evaluation read of a planned dataset."""

    folders: DatasetFolders
    description: DatasetDescription
    plan: Plan
    table: CaseTable

    @classmethod
    def open(cls, root: DataRoot, dataset: str, plans_name: str | None = None) -> Self:
        """Opens a dataset by name or number.

        Args:
            plans_name: which plans JSON; None takes the only one there is.

        Raises:
            RequestError: no such dataset, it is not planned yet, or several plans fit.
            DataError: one of its files is damaged.
        """
        folders = root.dataset(dataset)
        plan = Plan.read(folders.plan_file(plans_name or only_plan(folders)))
        description = DatasetDescription.read(folders.preprocessed / "dataset.json")
        table = CaseTable.read(folders.preprocessed / "cases.csv", description.tasks)
        return cls(folders=folders, description=description, plan=plan, table=table)

    @property
    def labels(self) -> LabelScheme:
        """What the masks mean."""
        return self.description.label_scheme

    @property
    def tasks(self) -> tuple[TaskSpec, ...]:
        """The case-level tasks."""
        return self.description.tasks

    def fold(self, fold: str) -> Fold:
        """Cases of a fold by number; `all` trains on every case of any fold and validates on none.

        Raises:
            RequestError: no such fold.
        """
        folds = read_splits(self.folders.splits_file)
        if fold == "all":
            return Fold(train=tuple(sorted({c for f in folds for c in f.train + f.val})), val=())
        if not fold.isdigit() or int(fold) >= len(folds):
            raise RequestError(
                f"--fold {fold}",
                found=f"{len(folds)} folds in {self.folders.splits_file}",
                expected=f"a number from 0 to {len(folds) - 1}, or all",
                remedy="Choose one of them.",
            )
        return folds[int(fold)]
