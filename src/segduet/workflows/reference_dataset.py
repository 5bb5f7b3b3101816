"""What predictions are compared with: a dataset by name, or a folder of references."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from segduet.core.cases import CaseTable
from segduet.core.description import DatasetDescription
from segduet.core.folders import DataRoot
from segduet.core.tasks import TaskSpec
from segduet.evaluation.evaluate import References
from segduet.inference.inputs import find_case_inputs


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceDataset:
    """A raw dataset, or a folder with dataset.json, cases.csv and masks."""

    folder: Path
    description: DatasetDescription
    table: CaseTable

    @classmethod
    def open(cls, root: DataRoot, reference: str) -> Self:
        """Opens a folder that holds a dataset.json, or else a dataset by name or number.

        Raises:
            RequestError: neither a folder nor a dataset.
            DataError: dataset.json or cases.csv is missing or damaged.
        """
        folder = Path(reference)
        if not (folder / "dataset.json").is_file():
            folder = root.dataset(reference).raw
        description = DatasetDescription.read(folder / "dataset.json")
        table = CaseTable.read(folder / "cases.csv", description.tasks)
        return cls(folder=folder, description=description, table=table)

    def references(
        self, tasks: Sequence[TaskSpec] = (), *, masks_are_scored: bool = True
    ) -> References:
        """Masks (in `labelsTr`, `labelsTs` or the folder itself) and classes to score against.

        Args:
            tasks: those of the dataset's tasks that are to be scored.
            masks_are_scored: whether masks are compared at all.
        """
        folders = [self.folder / "labelsTr", self.folder / "labelsTs", self.folder]
        return References(
            table=self.table,
            mask_folders=folders if masks_are_scored else [],
            file_ending=self.description.file_ending,
            labels=self.description.label_scheme,
            tasks=tasks,
        )

    def image_files(self) -> dict[str, Sequence[Path]]:
        """Image files by case, from `imagesTr` and `imagesTs` where these exist."""
        found: dict[str, Sequence[Path]] = {}
        for folder in (self.folder / "imagesTr", self.folder / "imagesTs"):
            if folder.is_dir():
                inputs = find_case_inputs(
                    folder,
                    num_channels=self.description.num_channels,
                    file_ending=self.description.file_ending,
                )
                found |= {i.case: i.image_paths for i in inputs}
        return found
