"""Case-level questions a model answers beside the segmentation."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationInfo, field_validator

from segduet.core.errors import DataError

#: Columns of the case table that no task may be called.
RESERVED_COLUMNS = ("case", "patient", "site", "split")

#: What stands between two findings of a multilabel cell, and for a case without any finding.
FINDING_SEPARATOR = "|"
NO_FINDING = "none"

TaskKind = Literal["binary", "multiclass", "multilabel", "ordinal", "regression"]


class TaskScale(BaseModel):
    """How a regression head's output becomes a number in the task's unit.

    Attributes:
        mean: of the training cases, in the task's unit; what an output of 0 stands for.
        sd: standard deviation of the training cases; what an output of 1 is away from the mean.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mean: FiniteFloat
    sd: FiniteFloat = Field(gt=0)


class TaskSpec(BaseModel):
    """One case-level question, such as the cancer subtype.

    Cells of the case table: a class name; for several findings `a|b`, or `none` where there is
    none of them; for a regression a number. An empty cell is unknown.

    Attributes:
        name: column of the case table and key of every answer.
        kind: what sort of answer it is: one of two classes, of several exclusive ones or of
            several in an order (`binary`, `multiclass`, `ordinal`), any number of findings at once
            (`multilabel`), or a number (`regression`).
        classes: names of the answers, in the order of the network's outputs: for a binary task
            the second is the positive one, for an ordinal one the lowest comes first; none for a
            regression.
        evidence_region: foreground label or region whose share in a patch says how much the patch
            can tell about the case; None means any foreground.
        unit: of a regression's numbers; None where they have none.
        scale: of a trained regression, kept in the model's header (`core.answers.fitted_task`);
            None before training and for other kinds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    kind: TaskKind = "multiclass"
    classes: tuple[str, ...] = Field(default=(), validate_default=True)
    evidence_region: str | None = None
    unit: str | None = Field(default=None, min_length=1)
    scale: TaskScale | None = None

    @field_validator("classes")
    @classmethod
    def _are_distinct(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(classes)) != len(classes):
            raise ValueError(f"class names {classes} repeat")
        if "" in classes:
            raise ValueError("a class name is empty, which means unknown in the case table")
        return classes

    @field_validator("classes")
    @classmethod
    def _fit_the_kind(cls, classes: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        kind = info.data.get("kind")
        if kind == "regression":
            if classes:
                raise ValueError("a regression answers with a number and has no classes")
            return classes
        if len(classes) < 2 or (kind == "binary" and len(classes) > 2):
            wanted = "exactly two classes" if kind == "binary" else "two classes or more"
            raise ValueError(f"a {kind} task has {wanted}, not {len(classes)}")
        odd = [c for c in classes if c == NO_FINDING or FINDING_SEPARATOR in c]
        if kind == "multilabel" and odd:
            raise ValueError(f"a finding cannot be called {odd[0]!r}: the table needs that text")
        return classes

    @field_validator("unit", "scale")
    @classmethod
    def _is_of_a_regression(cls, value: object, info: ValidationInfo) -> object:
        if value is not None and info.data.get("kind") != "regression":
            raise ValueError("only a regression has a unit or a scale")
        return value

    @field_validator("name")
    @classmethod
    def _is_no_fixed_column(cls, name: str) -> str:
        if name in RESERVED_COLUMNS:
            raise ValueError(f"{name!r} is a column of the case table itself")
        return name

    @property
    def has_exclusive_classes(self) -> bool:
        """Whether exactly one class holds for a case."""
        return self.kind in ("binary", "multiclass", "ordinal")

    @property
    def num_outputs(self) -> int:
        """Outputs of the task's head.

        One logit per class or finding; one logit for a binary task; one per step from a class to
        the next for an ordinal one; one z-score for a regression.
        """
        match self.kind:
            case "multiclass" | "multilabel":
                return len(self.classes)
            case "ordinal":
                return len(self.classes) - 1
            case "binary" | "regression":
                return 1

    @property
    def answer_size(self) -> int:
        """Numbers of one answer: a probability per class or finding, or the one value."""
        return len(self.classes) or 1

    @property
    def num_targets(self) -> int:
        """Numbers of one target: 0 or 1 per finding, otherwise a class index or a value."""
        return len(self.classes) if self.kind == "multilabel" else 1

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

    def named(self, label: str) -> tuple[str, ...]:
        """The names a cell gives: one class, any findings (`none` gives none), or no name."""
        if self.kind == "regression" or (self.kind == "multilabel" and label == NO_FINDING):
            return ()
        if self.kind == "multilabel":
            return tuple(part.strip() for part in label.split(FINDING_SEPARATOR))
        return (label,)
