"""What rows of a comparison share: entries, corrected p-values and verdicts."""

from collections.abc import Mapping, Sequence
from typing import Literal

from segduet.core.scores import Estimate
from segduet.evaluation.comparison_file import Difference, FigureEntry, FigureRow, Verdict
from segduet.evaluation.intervals import selection_inflation
from segduet.evaluation.paired_tests import holm
from segduet.metrics.declared import DeclaredMetric

Part = Literal["segmentation", "classification"]
Better = Literal["higher", "lower"]

NOT_MEASURED = "not measured in this run"
#: Corrected p below which a difference is called settled.
SIGNIFICANCE = 0.05


def better_way(metric: DeclaredMetric) -> Better:
    """Which way the compared values are better; of signed differences the size is compared."""
    return "higher" if metric.better == "higher" else "lower"


def figure_entry(estimate: Estimate, *, selected_from: int = 1) -> FigureEntry:
    """An estimate as it stands in the file.

    Args:
        estimate: value, interval, n and reason.
        selected_from: candidates the run's model was chosen from on these cases.
    """
    optimism = selection_inflation(estimate, selected_from=selected_from)
    return FigureEntry(
        value=estimate.value,
        ci95=estimate.ci95,
        n=estimate.n,
        reason=estimate.reason,
        optimism=optimism if optimism > 0 else None,
    )


def no_difference(run: str, reason: str) -> Difference:
    """The entry of a run that cannot be compared in this figure, and why."""
    nothing = FigureEntry(value=None, ci95=None, n=0, reason=reason)
    return Difference(run=run, reference_value=None, run_value=None, difference=nothing)


def judged_row(
    part: Part,
    subject: str,
    metric: DeclaredMetric,
    values: Mapping[str, FigureEntry],
    differences: Sequence[Difference],
    *,
    unit: str,
) -> FigureRow:
    """One row, its p-values corrected for the number of runs and each difference judged.

    Args:
        part: which answer it judges.
        subject: region or task.
        metric: as declared.
        values: run name -> its own figure.
        differences: of every other run to the reference run, not yet judged.
        unit: of the values.
    """
    better = better_way(metric)
    corrected = holm([difference.p for difference in differences])
    return FigureRow(
        part=part,
        subject=subject,
        metric=metric.name,
        label=f"|{metric.label}|" if metric.better == "zero" else metric.label,
        unit=unit,
        better=better,
        values=dict(values),
        differences=tuple(
            d.model_copy(update={"p_holm": p, "verdict": _verdict(d.difference.value, p, better)})
            for d, p in zip(differences, corrected, strict=True)
        ),
    )


def _verdict(difference: float | None, p: float | None, better: Better) -> Verdict:
    if difference is None or p is None:
        return "not measured"
    if p >= SIGNIFICANCE:
        return "not settled"
    return "better" if (difference > 0) == (better == "higher") else "worse"
