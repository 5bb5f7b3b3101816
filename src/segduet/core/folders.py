"""Where a dataset's raw, preprocessed and result files live, in nnU-Net's layout."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from segduet.core.errors import RequestError

_DATASET_NAME = re.compile(r"Dataset(\d{3})_([A-Za-z0-9_-]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class DataRoot:
    """The three top folders of nnU-Net."""

    raw: Path
    preprocessed: Path
    results: Path

    @classmethod
    def resolve(cls, data_root: Path | None, environment: Mapping[str, str]) -> Self:
        """An explicit `--data-root` wins, then nnU-Net's variables, then `./segduet-data`."""
        base = data_root or Path("segduet-data")
        names = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
        raw, preprocessed, results = (
            Path(environment[name]) if data_root is None and environment.get(name) else base / name
            for name in names
        )
        return cls(raw=raw, preprocessed=preprocessed, results=results)

    def dataset(self, reference: str) -> "DatasetFolders":
        """The folders of an existing dataset, named in full, by its number, or by its short name.

        Raises:
            RequestError: no such dataset, or the reference fits several.
        """
        names = sorted(
            {p.name for top in (self.raw, self.preprocessed) if top.is_dir() for p in top.iterdir()}
        )
        matches = [n for n in names if _refers_to(reference, n)]
        if len(matches) != 1:
            raise RequestError(
                f"dataset {reference!r}",
                found=f"{len(matches)} matching datasets under {self.raw} and {self.preprocessed}"
                + (f": {matches}" if matches else ""),
                expected="exactly one, such as Dataset501_pancreas, 501 or pancreas",
                remedy="See `segduet import --help` to make one, or pass --data-root.",
            )
        return self.new_dataset(matches[0])

    def new_dataset(self, full_name: str) -> "DatasetFolders":
        """The folders a dataset of this full name has, whether or not they exist.

        Raises:
            RequestError: the name is not of the form DatasetNNN_Name.
        """
        if not _DATASET_NAME.fullmatch(full_name):
            raise RequestError(
                f"dataset name {full_name!r}",
                found="a name that nnU-Net does not accept",
                expected="DatasetNNN_Name with three digits and letters, digits, '_' or '-'",
                remedy="Choose another name.",
            )
        return DatasetFolders(
            name=full_name,
            raw=self.raw / full_name,
            preprocessed=self.preprocessed / full_name,
            results=self.results / full_name,
        )

    def name_new_dataset(self, short_name: str) -> str:
        """`DatasetNNN_<short_name>` with the first free number from 501; a full name is kept."""
        if _DATASET_NAME.fullmatch(short_name):
            return short_name
        tops = (self.raw, self.preprocessed, self.results)
        taken = {p.name[7:10] for top in tops if top.is_dir() for p in top.glob("Dataset*")}
        number = next(n for n in range(501, 1000) if str(n) not in taken)
        return f"Dataset{number}_{short_name}"


def _refers_to(reference: str, full_name: str) -> bool:
    parts = _DATASET_NAME.fullmatch(full_name)
    if parts is None:
        return False
    number, short = parts.groups()
    is_number = reference.isdigit() and int(reference) == int(number)
    return is_number or reference in (full_name, short)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetFolders:
    """The folders and files of one dataset."""

    name: str
    raw: Path
    preprocessed: Path
    results: Path

    @property
    def images(self) -> Path:
        """Training and validation images, `<case>_0000<ending>` per channel."""
        return self.raw / "imagesTr"

    @property
    def unlabelled_images(self) -> Path:
        """Training and validation images that have no mask on purpose; nnU-Net does not look here.

        They teach the classes alone (B03).
        """
        return self.raw / "imagesUnlabelled"

    @property
    def masks(self) -> Path:
        """Label maps, `<case><ending>`."""
        return self.raw / "labelsTr"

    @property
    def test_images(self) -> Path:
        """Images without masks."""
        return self.raw / "imagesTs"

    def plan_file(self, plans_name: str) -> Path:
        """The plans JSON of this name."""
        return self.preprocessed / f"{plans_name}.json"

    @property
    def splits_file(self) -> Path:
        """nnU-Net's fold list."""
        return self.preprocessed / "splits_final.json"

    def run(self, trainer: str, plans_name: str, configuration: str, fold: str) -> Path:
        """The run folder of one training."""
        return self.results / f"{trainer}__{plans_name}__{configuration}" / f"fold_{fold}"
