"""What a user may tell an importer; an option the layout does not use is refused."""

from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path

from segduet.core.errors import RequestError
from segduet.dataset.importers.task_columns import TaskColumn


class RegionMode(StrEnum):
    """How several labels relate to one another."""

    PLAIN = "plain"
    """Labels exclude one another (softmax)."""

    NESTED = "nested"
    """Each label lies inside the one before it (sigmoid): region i holds labels i, i+1, ..."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """What a user may tell an importer beside the folder.

    Attributes:
        channel_names: nnU-Net's channel names in order; `CT` asks for CT normalisation. Empty: the
            layout's own, or `image`.
        class_column: column of the class table that holds the class; also the name of the task.
        classes: class names in the order of the network's outputs; empty: as found, sorted.
        tasks: columns of several questions, or of other kinds, instead of `class_column` and
            `classes` (B02).
        labels_table: class table (`case`, class, and if known `patient`, `site`, `split`) for
            layouts that have none of their own.
        label_names: names of the foreground labels in ascending order of value; empty: the
            layout's own, or `label_1`, `label_2`, ...
        label_values: values of these labels in the user's masks; empty: as found.
        region_mode: None takes the layout's own (`nested` for the quiz, `plain` otherwise).
        allow_missing_masks: take cases for training and validation without a mask, to teach their
            class alone (B03).
        workers: masks read at the same time where labels are to be found out.
    """

    channel_names: tuple[str, ...] = ()
    class_column: str = "class"
    classes: tuple[str, ...] = ()
    tasks: tuple[TaskColumn, ...] = ()
    labels_table: Path | None = None
    label_names: tuple[str, ...] = ()
    label_values: tuple[int, ...] = ()
    region_mode: RegionMode | None = None
    allow_missing_masks: bool = False
    workers: int = 1

    @property
    def task_columns(self) -> tuple[TaskColumn, ...]:
        """The columns to read answers from.

        Raises:
            RequestError: `tasks` beside `class_column` or `classes`, or one column twice.
        """
        if not self.tasks:
            return (TaskColumn(name=self.class_column, classes=self.classes),)
        names = [column.name for column in self.tasks]
        if self.classes or self.class_column != "class" or len(set(names)) != len(names):
            raise RequestError(
                "--task",
                found=f"the columns {names} beside a class column or classes"
                if len(set(names)) == len(names)
                else f"the columns {names}, one of them twice",
                expected="every column once, and its classes with it",
                remedy="Say it all with --task NAME:KIND:CLASS,CLASS, once per column.",
            )
        return self.tasks

    def require_only(self, layout: str, *used: str) -> None:
        """Checks that nothing is set which this layout would ignore.

        Raises:
            RequestError: an option was given that the layout does not use.
        """
        for option in fields(self):
            value = getattr(self, option.name)
            if option.name not in (*used, "workers") and value != option.default:
                raise RequestError(
                    f"import {layout}, option {option.name}",
                    found=f"{value!r}",
                    expected=f"only {', '.join(used)} with this layout",
                    remedy="Leave the option out, or import with the layout `table`.",
                )
