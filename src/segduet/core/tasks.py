"""Case-level questions a model answers beside the segmentation."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from segduet.core.errors import DataError

#: Columns of the case table that no task may be called.
RESERVED_COLUMNS = ("case", "patient", "site", "split")


class TaskSpec(BaseModel):
    """One case-level question, such as the cancer subtype.

    Attributes:
        name: column of the case table and key of every answer.
        kind: what sort of answer it is; one of several exclusive classes.
        classes: names of the answers, in the order of the network's outputs.
        evidence_region: foreground label or region whose share in a patch says how much the patch
            can tell about the case; None means any foreground.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    kind: Literal["multiclass"] = "multiclass"
    classes: tuple[str, ...] = Field(min_length=2)
    evidence_region: str | None = None

    @field_validator("classes")
    @classmethod
    def _are_distinct(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(classes)) != len(classes):
            raise ValueError(f"class names {classes} repeat")
        if "" in classes:
            raise ValueError("a class name is empty, which means unknown in the case table")
        return classes

    @field_validator("name")
    @classmethod
    def _is_no_fixed_column(cls, name: str) -> str:
        if name in RESERVED_COLUMNS:
            raise ValueError(f"{name!r} is a column of the case table itself")
        return name

    @property
    def num_outputs(self) -> int:
        """Outputs of the task's head."""
        return len(self.classes)

    def index(self, label: str, *, where: str) -> int:
        """Position of a class name among `classes`.

        Raises:
            DataError: the name is not one of them (never class 0 by default).
        """
        if label not in self.classes:
            raise DataError(
                where,
                found=f"class {label!r} for {self.name!r}",
                expected=f"one of {list(self.classes)}",
                remedy="Correct the case table, or declare the class in dataset.json.",
            )
        return self.classes.index(label)
