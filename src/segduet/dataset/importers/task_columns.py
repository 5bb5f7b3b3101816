"""Columns of a user's table that answer a question each, and what the user says about them."""

from dataclasses import dataclass
from typing import cast, get_args

from segduet.core.errors import RequestError
from segduet.core.tasks import TaskKind

SYNTAX = "NAME, NAME:KIND, NAME:KIND:CLASS,CLASS,... or NAME:regression:UNIT"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskColumn:
    """One column with the answers to one question.

    Attributes:
        name: the column, and the name of the task.
        kind: what sort of answer it holds.
        classes: names in the order of the network's outputs (a binary task's second is positive,
            an ordinal one's lowest is first); empty: as found, sorted.
        unit: of a regression's numbers; None where they have none.
    """

    name: str
    kind: TaskKind = "multiclass"
    classes: tuple[str, ...] = ()
    unit: str | None = None


def parse_task_column(text: str) -> TaskColumn:
    """Reads `grade:ordinal:low,mid,high`, `size:regression:mm` or just `subtype`.

    Raises:
        RequestError: no name, an unknown kind, or a binary or ordinal task without its classes,
            whose order no table tells.
    """
    name, kind, details, surplus = [part.strip() for part in (*text.split(":", 3), *[""] * 3)][:4]
    kind = kind or "multiclass"
    if not name or surplus or kind not in get_args(TaskKind):
        raise RequestError(
            "--task",
            found=f"{text!r}",
            expected=f"{SYNTAX}, with a kind among {', '.join(get_args(TaskKind))}",
            remedy="Correct the option.",
        )
    if kind == "regression":
        return TaskColumn(name=name, kind="regression", unit=details or None)
    classes = tuple(part.strip() for part in details.split(",")) if details else ()
    if kind in ("binary", "ordinal") and not classes:
        order = "the positive one second" if kind == "binary" else "the lowest first"
        raise RequestError(
            "--task",
            found=f"{text!r}, a task of kind {kind} without its classes",
            expected=f"their names in order, {order}",
            remedy=f"Write --task {name}:{kind}:CLASS,CLASS.",
        )
    return TaskColumn(name=name, kind=cast(TaskKind, kind), classes=classes)
