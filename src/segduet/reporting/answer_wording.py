"""How the answer to one case is written for readers, by kind of task."""

from segduet.core.scores import ClassAnswer
from segduet.core.tasks import FINDING_SEPARATOR, TaskKind
from segduet.reporting.wording import NOT_MEASURED

#: Kinds whose answer is the most probable class, so that its probability says something about it.
_WITH_PROBABILITY = ("binary", "multiclass")


def answer_heading(task: str, kind: TaskKind) -> str:
    """Heading of the column with a task's answers."""
    return f"{task}: true → answer" + (" (p)" if kind in _WITH_PROBABILITY else "")


def answer_text(answer: ClassAnswer | None) -> str:
    """`benign → malignant (0.81)`, `cyst, mass → cyst`, or `54.0 → 51.5 % (-2.5)`."""
    if answer is None:
        return NOT_MEASURED
    if answer.kind == "regression":
        return _value_text(answer)
    truth = _listed(answer.reference, answer.kind) if answer.reference else "unknown"
    said = f"{truth} → {_listed(answer.predicted, answer.kind)}"
    if answer.kind in _WITH_PROBABILITY:
        return f"{said} ({max(answer.probabilities):.2f})"
    return said


def is_wrong(answer: ClassAnswer | None) -> bool:
    """Whether another class, or not exactly these findings, were true; never of a number."""
    if answer is None or not answer.reference or answer.kind == "regression":
        return False
    return _named(answer.reference, answer.kind) != _named(answer.predicted, answer.kind)


def _value_text(answer: ClassAnswer) -> str:
    unit = f" {answer.unit}" if answer.unit else ""
    said = answer.probabilities[0]
    if not answer.reference:
        return f"unknown → {said:.4g}{unit}"
    truth = float(answer.reference)
    return f"{truth:.4g} → {said:.4g}{unit} ({said - truth:+.3g})"


def _named(cell: str, kind: TaskKind) -> set[str]:
    """The names in a cell; the order of findings has no meaning."""
    if kind != "multilabel":
        return {cell}
    return {name.strip() for name in cell.split(FINDING_SEPARATOR)}


def _listed(cell: str, kind: TaskKind) -> str:
    return cell.replace(FINDING_SEPARATOR, ", ") if kind == "multilabel" else cell
