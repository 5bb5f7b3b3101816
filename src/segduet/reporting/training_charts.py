"""Curves of a training run: losses, patch figures, full-case figures, learning rate, time."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matplotlib.ticker import MaxNLocator

from segduet.reporting.chart_style import COLOURS, add_legend, add_target, new_chart, plain, to_svg
from segduet.reporting.history import History, Series, read_series


def training_charts(history: History, targets: Sequence[Mapping[str, Any]] = ()) -> list[str]:
    """Inline SVG charts of what the run recorded; a figure that is absent has no chart.

    Args:
        history: lines of `metrics.jsonl`.
        targets: rows of `summary.json`; drawn where a full-case figure has the target's path.
    """
    series = list(read_series(history).values())
    charts = [
        _chart("Losses", "loss", _chosen(series, lambda s: _is_split(s) and s.lower_is_better)),
        _chart(
            "Patch figures (random patches, not DSC)",
            "patch figure",
            _chosen(series, lambda s: _is_split(s) and not s.lower_is_better),
        ),
        _chart(
            "Full-case figures",
            "figure",
            _chosen(series, lambda s: s.name.startswith("full_case/")),
            targets=targets,
        ),
        _chart("Task weights", "weight", _chosen(series, lambda s: s.name.startswith("weights/"))),
        _chart("Learning rate", "", _chosen(series, lambda s: s.name == "learning_rate")),
        _chart("Time per epoch", "seconds", _chosen(series, lambda s: s.name == "seconds")),
    ]
    return [chart for chart in charts if chart]


def _is_split(series: Series) -> bool:
    return series.name.startswith(("train/", "validation/"))


def _chosen(series: Sequence[Series], is_wanted: Callable[[Series], bool]) -> list[Series]:
    return [s for s in series if is_wanted(s)]


def _chart(
    title: str,
    y_label: str,
    series: Sequence[Series],
    *,
    targets: Sequence[Mapping[str, Any]] = (),
) -> str:
    if not series:
        return ""
    figure, axes = new_chart(title, x_label="epoch", y_label=y_label)
    for number, one in enumerate(series):
        axes.plot(
            one.epochs,
            one.values,
            color=COLOURS[number % len(COLOURS)],
            linestyle="--" if one.name.startswith("validation/") else "-",
            linewidth=1.4,
            marker="o" if len(one.epochs) < 30 else "",
            markersize=3,
            label=plain(one.name.removeprefix("full_case/")),
        )
    for target in targets:
        if any(s.name == f"full_case/{target['metric']}" for s in series):
            add_target(axes, target["threshold"], f"target {target['name']}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if len(series) > 1:
        add_legend(axes, columns=2)
    names = ", ".join(s.name for s in series)
    return to_svg(figure, description=f"{title} over epochs: {names}")
