"""What every reported metric is called, its unit and which way is better."""

from dataclasses import dataclass
from typing import Literal

Direction = Literal["higher", "lower", "zero"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredMetric:
    """How a metric appears in files and reports.

    Attributes:
        name: key in `summary.json` and `scores.csv`.
        label: what a reader sees.
        unit: unit of the value, empty for a share or score without one.
        better: which way is better; `zero` for signed differences.
    """

    name: str
    label: str
    unit: str
    better: Direction


def _declare(*rows: tuple[str, str, str, Direction]) -> dict[str, DeclaredMetric]:
    return {
        name: DeclaredMetric(name=name, label=label, unit=unit, better=better)
        for name, label, unit, better in rows
    }


#: Measured per case and region.
SEGMENTATION_METRICS = _declare(
    ("dsc", "DSC", "", "higher"),
    ("iou", "IoU", "", "higher"),
    ("volume_difference_ml", "Volume difference", "ml", "zero"),
)

#: Measured per task over a cohort.
CLASSIFICATION_METRICS = _declare(
    ("macro_f1", "macro-F1", "", "higher"),
    ("balanced_accuracy", "Balanced accuracy", "", "higher"),
    ("accuracy", "Accuracy", "", "higher"),
    ("auroc", "AUROC", "", "higher"),
    ("brier", "Brier score", "", "lower"),
    ("ece", "ECE", "", "lower"),
)
