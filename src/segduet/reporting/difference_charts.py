"""How far runs lie from the reference run: a dot and an interval for each main figure."""

from collections.abc import Sequence

from segduet.evaluation.comparison_file import Comparison, Difference, FigureRow
from segduet.reporting.chart_style import COLOURS, add_legend, new_chart, plain, to_svg

#: The rest is in the tables; all of them would fill a screen.
_SHOWN = ("dsc", "nsd", "lesion_f1", "macro_f1", "balanced_accuracy", "auroc", "quadratic_kappa")
_ROW_INCHES = 0.34
_FRAME_INCHES = 1.5
#: One row's dots lie beside each other within this share of the row.
_SPREAD = 0.5


def difference_charts(comparison: Comparison) -> list[str]:
    """One chart for the masks and one for the answers, those that have such a figure.

    Right of zero is better, whatever the figure: where lower is better the sign is turned round.
    """
    charts = []
    for part, title in (("segmentation", "Masks"), ("classification", "Answers")):
        of_part = [row for row in comparison.rows if row.part == part and row.metric in _SHOWN]
        rows = [row for row in of_part if _measured(row)]
        if rows:
            charts.append(_chart(f"{title}: better than {comparison.reference} by", rows))
    return charts


def figure_name(row: FigureRow) -> str:
    """`DSC organ`, `macro-F1 kind`."""
    subject = "mean foreground" if row.subject == "mean_foreground" else row.subject
    return f"{row.label} {subject}"


def _measured(row: FigureRow) -> list[Difference]:
    return [d for d in row.differences if d.difference.value is not None]


def _chart(title: str, rows: Sequence[FigureRow]) -> str:
    figure, axes = new_chart(plain(title), x_label="difference (right is better)", y_label="")
    figure.set_size_inches(4.7, _FRAME_INCHES + _ROW_INCHES * len(rows))
    runs = list(dict.fromkeys(d.run for row in rows for d in row.differences))
    for number, run in enumerate(runs):
        offset = _SPREAD * ((number + 0.5) / len(runs) - 0.5)
        places, values, lows, highs = [], [], [], []
        for place, row in enumerate(rows):
            for found in _measured(row):
                if found.run == run:
                    value, low, high = _better_by(row, found)
                    places.append(place + offset)
                    values.append(value)
                    lows.append(value - low)
                    highs.append(high - value)
        colour = COLOURS[number % len(COLOURS)]
        axes.errorbar(
            values,
            places,
            xerr=[lows, highs],
            fmt="o",
            markersize=4,
            color=colour,
            label=plain(run),
        )
    axes.axvline(0.0, color="#808890", linewidth=1.0)
    axes.set_yticks(range(len(rows)), [plain(figure_name(row)) for row in rows])
    axes.invert_yaxis()
    if len(runs) > 1:
        add_legend(axes)
    return to_svg(figure, description=f"{title}: {', '.join(figure_name(row) for row in rows)}")


def _better_by(row: FigureRow, found: Difference) -> tuple[float, float, float]:
    """Value, low and high end; the value itself where there is no interval."""
    value = found.difference.value
    assert value is not None, row
    low, high = found.difference.ci95 or (value, value)
    return (value, low, high) if row.better == "higher" else (-value, -high, -low)
