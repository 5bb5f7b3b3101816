"""What a check can find, told like an error but without stopping."""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Literal

Severity = Literal["error", "warning", "note"]


class FindingKind(StrEnum):
    """Which aspect of the data a finding concerns."""

    FILES = "files"
    """A file is missing, or there without a row in the table."""

    IMAGE = "image"
    """An image cannot be read, is not finite, or its channels do not fit together."""

    MASK = "mask"
    """A mask cannot be read or is not finite."""

    GRID = "grid"
    """Image and mask differ in shape, spacing, origin or direction."""

    LABELS = "labels"
    """A mask holds undeclared values, or integers with a rounding error."""

    FOREGROUND = "foreground"
    """A mask has no foreground."""

    TABLE = "table"
    """A row of the case table cannot be understood."""

    CLASSES = "classes"
    """A case has no class, or a class has too few cases."""

    PATIENTS = "patients"
    """A patient is in several splits."""

    NEAR_DUPLICATE = "near_duplicate"
    """Images of two patients show the same."""

    LABEL_CONFLICT = "label_conflict"
    """Images that show the same have different classes."""

    CLASS_IN_FILE_NAME = "class_in_file_name"
    """The case ids give a class away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong, or worth knowing, about a dataset.

    Attributes:
        kind: the aspect.
        severity: an error stops nnU-Net or falsifies results; a warning may be intended; a note is
            worth knowing and nothing is wrong.
        case: the case concerned; empty where it is the dataset.
        message: what was found and what was expected, one sentence.
        remedy: what to do about it.
    """

    kind: FindingKind
    severity: Severity
    case: str
    message: str
    remedy: str

    def to_json(self) -> dict[str, Any]:
        """Plain types."""
        return asdict(self)


def error_about(kind: FindingKind, case: str, message: str, remedy: str) -> Finding:
    """A finding that stops nnU-Net or falsifies results."""
    return Finding(kind=kind, severity="error", case=case, message=message, remedy=remedy)


def warning_about(kind: FindingKind, case: str, message: str, remedy: str) -> Finding:
    """A finding that may be intended."""
    return Finding(kind=kind, severity="warning", case=case, message=message, remedy=remedy)


def note_about(kind: FindingKind, case: str, message: str, remedy: str) -> Finding:
    """A finding worth knowing, which is no fault of the dataset."""
    return Finding(kind=kind, severity="note", case=case, message=message, remedy=remedy)
