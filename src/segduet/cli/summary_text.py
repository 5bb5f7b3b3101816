"""The main figures of a `summary.json` as lines for a person at a terminal."""

from collections.abc import Mapping
from typing import Any

from segduet.metrics.declared import headline_metric

Figures = Mapping[str, Any]


def summary_lines(summary: Figures) -> list[str]:
    """DSC by region, the main figure of each task, baselines, targets, and subgroups if any.

    Args:
        summary: content of a `summary.json`.
    """
    candidates = summary["selected_from"]
    lines = [f"{summary['n_cases']} cases"]
    for region, metrics in summary["segmentation"].items():
        lines.append(f"  DSC {region}: {_figure(metrics['dsc'], candidates)}")
    for task, metrics in summary["classification"].items():
        lines.append(f"  {_headline(metrics, task, candidates)}")
    for name, baseline in summary["baselines"].items():
        for task, metrics in baseline["classification"].items():
            lines.append(f"    {name} baseline {_headline(metrics, task, with_label=False)}")
    for row in summary["targets"]:
        value = "" if row["value"] is None else f" ({row['value']:.3f} for {row['threshold']:g})"
        lines.append(f"  target {row['name']}: {row['status']}{value}")
    for by, division in summary["subgroups"].items():
        lines += _division(by, division)
    return lines


def p_text(p: float) -> str:
    """A p-value as a person reads it: `p = 0.013`, `p < 0.001`."""
    return f"p = {p:.3f}" if p >= 0.001 else "p < 0.001"


def _division(by: str, division: Figures) -> list[str]:
    unknown = f", {division['n_unknown']} cases of unknown group" if division["n_unknown"] else ""
    lines = [f"  by {by}{unknown}"]
    for path, gap in division["gaps"].items():
        if gap["value"] is None:
            lines.append(f"    {path}: no gap stated, {gap['reason']}")
        else:
            between = f"{gap['highest']} above {gap['lowest']}"
            lines.append(f"    {path}: {between} by {gap['value']:.3f} ({p_text(gap['p'])})")
        for group, block in division["groups"].items():
            lines.append(f"      {group}: {_figure(block['figures'][path])}")
    return lines


def _headline(metrics: Figures, task: str, candidates: int = 1, *, with_label: bool = True) -> str:
    metric = headline_metric(metrics)
    label = f"{metric.label} {task}" if with_label else task
    return f"{label}: {_figure(metrics[metric.name], candidates)}"


def _figure(figure: Figures, candidates: int = 1) -> str:
    value = figure.get("value", figure.get("mean"))
    if value is None:
        return f"not measured: {figure['reason']}"
    interval = figure["ci95"]
    limits = f"95 % interval {interval[0]:.3f}-{interval[1]:.3f}" if interval else "no interval"
    unit = f" {figure['unit']}" if figure.get("unit") else ""
    remarks = f"{limits}, n = {figure['n']}"
    if "p_chance" in figure:
        remarks += f", against chance {p_text(figure['p_chance'])}"
    if "optimism" in figure:
        remarks += f", best of {candidates}: up to {figure['optimism']:.3f} of it may be luck"
    return f"{value:.3f}{unit} ({remarks})"
