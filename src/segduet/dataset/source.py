"""What every importer yields: a user's dataset, described but not yet copied."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from segduet.core.cases import CaseRecord, CaseTable
from segduet.core.labels import LabelScheme
from segduet.core.tasks import TaskSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceCase:
    """One case where the user keeps it.

    Attributes:
        record: id, patient, split and class labels.
        images: one file per channel in channel order, or one file that holds all channels (a
            colour picture, a `.mat` frame, a 4D NIfTI).
        mask: the mask, None where there is none (see `SourceDataset.allows_missing_masks`).
    """

    record: CaseRecord
    images: tuple[Path, ...]
    mask: Path | None

    @property
    def is_test(self) -> bool:
        """Whether the case is kept away from training and validation."""
        return self.record.split == "test"

    @property
    def is_unlabelled(self) -> bool:
        """Whether it is a case for training or validation without a mask (B03)."""
        return self.mask is None and not self.is_test


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceDataset:
    """A user's dataset, whatever its layout.

    Attributes:
        where: the folder it came from, for messages.
        cases: all cases, ids unique.
        tasks: case-level tasks the records may have labels for.
        channel_names: nnU-Net's names, which choose the normalisation (`CT`, otherwise z-score).
        labels: name -> value or values, as in dataset.json, `background` first.
        regions_class_order: for regions, the value written for each; empty for plain labels.
        value_map: value in the user's masks -> value in the dataset; the identity on all labels
            where it is empty.
        allows_missing_masks: whether cases for training and validation may lack a mask, to teach
            their class alone; test cases always may.

    Raises:
        DataError: a case id repeats, a patient is in two splits, or the labels are inconsistent.
    """

    where: str
    cases: tuple[SourceCase, ...]
    tasks: tuple[TaskSpec, ...]
    channel_names: tuple[str, ...]
    labels: Mapping[str, int | list[int]]
    regions_class_order: tuple[int, ...] = ()
    value_map: Mapping[int, int] = field(default_factory=dict)
    allows_missing_masks: bool = False

    def __post_init__(self) -> None:
        _ = self.table, self.label_scheme

    @property
    def table(self) -> CaseTable:
        """The case table."""
        return CaseTable(records=tuple(c.record for c in self.cases), where=self.where)

    @property
    def label_scheme(self) -> LabelScheme:
        """The labels as regions or plain labels."""
        order = list(self.regions_class_order) or None
        return LabelScheme.from_dataset_json(self.labels, order, where=self.where)

    @property
    def mask_value_map(self) -> Mapping[int, int]:
        """Value in the user's masks -> label, complete."""
        return self.value_map or {value: value for value in self.label_scheme.values}
