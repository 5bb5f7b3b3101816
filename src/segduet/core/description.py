"""nnU-Net's dataset.json, with our one added key for the case-level tasks."""

from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from segduet.core.errors import DataError
from segduet.core.files import read_json, write_json
from segduet.core.labels import LabelScheme
from segduet.core.tasks import TaskSpec

M = TypeVar("M", bound=BaseModel)


class SegduetSection(BaseModel):
    """What segduet adds to dataset.json under the key `segduet`; nnU-Net ignores it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tasks: tuple[TaskSpec, ...] = ()


class DatasetDescription(BaseModel):
    """A dataset.json: channels, labels, file ending and case-level tasks.

    Keys we do not know are kept, since the file is nnU-Net's.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    channel_names: dict[str, str]
    labels: dict[str, int | list[int]]
    num_training: int = Field(alias="numTraining")
    file_ending: str
    regions_class_order: list[int] | None = None
    segduet: SegduetSection = SegduetSection()

    @classmethod
    def read(cls, source: Path) -> Self:
        """Reads and checks a dataset.json.

        Raises:
            DataError: missing, not JSON, or an entry is missing or of the wrong kind.
        """
        description = validated(cls, read_json(source), where=str(source))
        _ = description.label_scheme
        return description

    def write(self, target: Path) -> None:
        """Writes the file atomically; the order of the labels is kept, since it has meaning."""
        write_json(target, self.model_dump(by_alias=True, exclude_none=True, mode="json"))

    @property
    def label_scheme(self) -> LabelScheme:
        """The labels as regions or plain labels."""
        return LabelScheme.from_dataset_json(
            self.labels, self.regions_class_order, where="dataset.json"
        )

    @property
    def tasks(self) -> tuple[TaskSpec, ...]:
        """The case-level tasks."""
        return self.segduet.tasks

    @property
    def num_channels(self) -> int:
        """Image channels per case."""
        return len(self.channel_names)


def validated(model: type[M], content: Any, *, where: str) -> M:
    """Builds a pydantic model from parsed JSON or YAML, with our kind of message on error.

    Raises:
        DataError: the first entry that is missing, unknown or of the wrong kind.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        entry = ".".join(str(part) for part in first["loc"]) or "the file"
        raise DataError(
            f"{where}, {entry}",
            found=repr(first["input"])[:120],
            expected=first["msg"],
            remedy="Correct this entry.",
        ) from error
