"""What every reported metric is called, its unit and which way is better."""

from collections.abc import Collection
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


#: Measured per case and region; surfaces and lesions (NSD to lesion F1) only where asked for.
SEGMENTATION_METRICS = _declare(
    ("dsc", "DSC", "", "higher"),
    ("iou", "IoU", "", "higher"),
    ("f2", "F2", "", "higher"),
    ("precision", "Precision", "", "higher"),
    ("recall", "Recall", "", "higher"),
    ("nsd", "NSD", "", "higher"),
    ("hd95_mm", "HD95", "mm", "lower"),
    ("assd_mm", "ASSD", "mm", "lower"),
    ("lesion_recall", "Lesion recall", "", "higher"),
    ("lesion_precision", "Lesion precision", "", "higher"),
    ("lesion_f1", "Lesion F1", "", "higher"),
    ("volume_difference_ml", "Volume difference", "ml", "zero"),
)

#: Measured per task with classes over a cohort; which ones depends on its kind.
CLASSIFICATION_METRICS = _declare(
    ("macro_f1", "macro-F1", "", "higher"),
    ("balanced_accuracy", "Balanced accuracy", "", "higher"),
    ("accuracy", "Accuracy", "", "higher"),
    ("mcc", "MCC", "", "higher"),
    ("auroc", "AUROC", "", "higher"),
    ("average_precision", "Average precision", "", "higher"),
    ("sensitivity", "Sensitivity", "", "higher"),
    ("specificity", "Specificity", "", "higher"),
    ("positive_likelihood_ratio", "Positive likelihood ratio", "", "higher"),
    ("exact_match", "All findings right", "", "higher"),
    ("quadratic_kappa", "Quadratic weighted kappa", "", "higher"),
    ("rank_error", "Mean absolute error", "ranks", "lower"),
    ("brier", "Brier score", "", "lower"),
    ("ece", "ECE", "", "lower"),
    ("ece_kde", "ECE (kernel)", "", "lower"),
)

#: Measured per regression over a cohort; a figure in the task's unit names it itself.
REGRESSION_METRICS = _declare(
    ("mae", "Mean absolute error", "unit of the task", "lower"),
    ("rmse", "Root mean squared error", "unit of the task", "lower"),
    ("r2", "R²", "", "higher"),
    ("spearman", "Spearman correlation", "", "higher"),
)

TASK_METRICS = {**CLASSIFICATION_METRICS, **REGRESSION_METRICS}


def headline_metric(measured: Collection[str]) -> DeclaredMetric:
    """The one figure to name first: macro-F1 of a task with classes, the MAE of a regression.

    Args:
        measured: names of the task's figures in `summary.json`.
    """
    return TASK_METRICS["macro_f1" if "macro_f1" in measured else "mae"]
