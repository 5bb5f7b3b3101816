"""Charts of the scores per case: spread of DSC in each region, DSC against size, true values."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from segduet.core.scores import CaseScores
from segduet.reporting.chart_style import (
    COLOURS,
    add_legend,
    new_chart,
    plain,
    set_categories,
    to_svg,
)


def dsc_spread_chart(
    cases: Sequence[CaseScores],
    regions: Sequence[str],
    targets: Sequence[Mapping[str, Any]] = (),
) -> str:
    """Every case as a dot, box of quartiles, mean as a diamond, target as a dashed bar.

    Args:
        cases: scored cases; empty string if no region has a defined DSC.
        regions: in the order shown.
        targets: rows of `summary.json`; those on `segmentation/REGION/dsc` are drawn.
    """
    values = {region: dsc_values(cases, region) for region in regions}
    values = {region: found for region, found in values.items() if found}
    if not values:
        return ""
    figure, axes = new_chart("DSC per case", x_label="", y_label="DSC")
    for position, (region, found) in enumerate(values.items()):
        _draw_region(axes, position, found)
        for target in targets:
            if target["metric"] == f"segmentation/{region}/dsc":
                _draw_target(axes, position, target["threshold"])
    axes.set_ylim(-0.03, 1.03)
    axes.set_xlim(-0.6, len(values) - 0.4)
    set_categories(axes, [f"{r} (n={len(v)})" for r, v in values.items()])
    return to_svg(figure, description=f"Spread of DSC per case for {', '.join(values)}")


def dsc_volume_chart(cases: Sequence[CaseScores], regions: Sequence[str]) -> str:
    """DSC against the volume of the reference region on a logarithmic axis.

    Cases whose reference region is empty cannot be placed on the axis and are left out; an empty
    string if none remains.
    """
    points = {region: _volume_points(cases, region) for region in regions}
    points = {region: found for region, found in points.items() if found}
    if not points:
        return ""
    figure, axes = new_chart(
        "DSC against size", x_label="reference volume (ml, logarithmic)", y_label="DSC"
    )
    axes.set_xscale("log")
    for number, (region, found) in enumerate(points.items()):
        volumes, scores = zip(*found, strict=True)
        colour = COLOURS[number % len(COLOURS)]
        axes.scatter(
            volumes, scores, s=16, alpha=0.75, color=colour, linewidths=0, label=plain(region)
        )
    axes.set_ylim(-0.03, 1.03)
    add_legend(axes, columns=3)
    return to_svg(figure, description=f"DSC against reference volume for {', '.join(points)}")


def value_charts(cases: Sequence[CaseScores]) -> list[str]:
    """Predicted against true value of every regression that has cases with a known one."""
    points: dict[str, list[tuple[float, float]]] = {}
    units: dict[str, str] = {}
    for case in cases:
        for task, answer in case.answers.items():
            if answer.kind == "regression" and answer.reference:
                pair = (float(answer.reference), answer.probabilities[0])
                points.setdefault(task, []).append(pair)
                units[task] = answer.unit
    return [_value_chart(task, pairs, units[task]) for task, pairs in points.items()]


def _value_chart(task: str, pairs: Sequence[tuple[float, float]], unit: str) -> str:
    suffix = f" ({plain(unit)})" if unit else ""
    figure, axes = new_chart(
        plain(task), x_label=f"true value{suffix}", y_label=f"predicted value{suffix}"
    )
    truth, said = zip(*pairs, strict=True)
    ends = [min(*truth, *said), max(*truth, *said)]
    axes.plot(ends, ends, color=COLOURS[1], linestyle=(0, (4, 2)), linewidth=1.2)
    axes.scatter(truth, said, s=16, alpha=0.75, color=COLOURS[0], linewidths=0)
    return to_svg(figure, description=f"Predicted against true {task} of {len(pairs)} cases")


def dsc_values(cases: Sequence[CaseScores], region: str) -> list[float]:
    """The defined DSC values of a region, in case order."""
    scores = (case.segmentation.get(region, {}).get("dsc") for case in cases)
    return [s.value for s in scores if s is not None and s.value is not None]


def _draw_region(axes: Axes, position: int, values: Sequence[float]) -> None:
    colour = COLOURS[position % len(COLOURS)]
    axes.boxplot(
        [list(values)],
        positions=[position],
        widths=0.5,
        showfliers=False,
        manage_ticks=False,
        boxprops={"color": colour, "linewidth": 1.2},
        medianprops={"color": colour, "linewidth": 2.0},
        whiskerprops={"color": colour},
        capprops={"color": colour},
    )
    # evenly spread, so that the same scores always give the same picture
    offsets = np.linspace(-0.17, 0.17, len(values)) if len(values) > 1 else np.zeros(1)
    axes.scatter(position + offsets, values, s=11, alpha=0.55, color=colour, linewidths=0)
    axes.scatter([position], [float(np.mean(values))], marker="D", s=34, color=colour, zorder=3)


def _draw_target(axes: Axes, position: int, threshold: float) -> None:
    ends = [position - 0.42, position + 0.42]
    axes.plot(ends, [threshold] * 2, color="#c03a3a", linestyle=(0, (4, 2)), linewidth=1.6)


def _volume_points(cases: Sequence[CaseScores], region: str) -> list[tuple[float, float]]:
    return [
        (case.volumes_ml[region][0], score.value)
        for case in cases
        if region in case.volumes_ml and case.volumes_ml[region][0] > 0
        for score in [case.segmentation[region]["dsc"]]
        if score.value is not None
    ]
