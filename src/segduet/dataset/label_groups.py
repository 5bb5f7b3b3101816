"""Under which names the cases of a dataset are counted."""

from segduet.core.tasks import NO_FINDING, TaskSpec

#: Cases of a regression whose number is known.
KNOWN = "known"


def label_groups(task: TaskSpec, label: str) -> tuple[str, ...]:
    """The names a label is counted under: its class, its findings or `none`, or `known`."""
    return task.named(label) or (NO_FINDING if task.kind == "multilabel" else KNOWN,)


def group_names(task: TaskSpec) -> tuple[str, ...]:
    """All names that `label_groups` can give, in the order of the classes."""
    match task.kind:
        case "regression":
            return (KNOWN,)
        case "multilabel":
            return (*task.classes, NO_FINDING)
        case "binary" | "multiclass" | "ordinal":
            return task.classes
