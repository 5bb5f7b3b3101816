"""What the tables and cards of the report hold, as plain text ready for the template."""

from collections.abc import Iterator, Mapping
from typing import Any

from segduet.evaluation.cohort import MEAN_FOREGROUND
from segduet.metrics.declared import SEGMENTATION_METRICS, TASK_METRICS, headline_metric
from segduet.reporting.wording import (
    NOT_MEASURED,
    figure_text,
    figure_value,
    interval_text,
    number_text,
    p_text,
)

Summary = Mapping[str, Any]
Cells = dict[str, str]
#: Lists of cases would fill the page; the record itself has them.
_LONGEST_LIST = 8


def summary_cards(summary: Summary) -> list[Cells]:
    """DSC of each region and the main figure of each task: `name`, `value`, `interval`."""
    regions = summary.get("segmentation", {})
    # the mean over regions first: it is the one number of the segmentation
    ordered = sorted(regions, key=lambda region: region != MEAN_FOREGROUND)
    cards = [(f"DSC {region_label(r)}", regions[r].get("dsc", {})) for r in ordered]
    cards += headlines(summary)
    return [
        {
            "name": name,
            "value": figure_text(figure),
            "interval": interval_text(figure) if figure else NOT_MEASURED,
        }
        for name, figure in cards
    ]


def headlines(summary: Summary) -> list[tuple[str, Mapping[str, Any]]]:
    """The main figure of each task with its name: macro-F1, or a regression's mean error."""
    tasks = summary.get("classification", {}).items()
    return [
        (f"{metric.label} {task}", figures.get(metric.name, {}))
        for task, figures in tasks
        for metric in [headline_metric(figures)]
    ]


def target_rows(summary: Summary) -> list[Cells]:
    """One row per target: name, wanted, value with interval, gap, status and its remark."""
    return [
        {
            "name": row["name"],
            "wanted": f"{'≥' if row['direction'] == 'at_least' else '≤'} {row['threshold']:g}",
            "value": number_text(row["value"]),
            "interval": interval_text(row) if row["value"] is not None else "",
            "gap": "" if row["gap"] is None else f"{row['gap']:+.3f}",
            "status": row["status"],
            "remark": _target_remark(row),
        }
        for row in summary.get("targets", [])
    ]


def region_tables(summary: Summary) -> list[dict[str, Any]]:
    """Per region: its name, and a row per metric with mean, interval, sd, median, undefined."""
    tolerance = summary.get("nsd_tolerance_mm")
    return [
        {
            "region": region_label(region),
            "rows": [
                {
                    "metric": metric_label(metric, tolerance),
                    "mean": number_text(figure_value(figure)),
                    "interval": interval_text(figure),
                    "sd": number_text(figure.get("sd")),
                    "median": number_text(figure.get("median")),
                    "undefined": str(figure.get("n_undefined", 0)),
                }
                for metric, figure in metrics.items()
            ],
        }
        for region, metrics in summary.get("segmentation", {}).items()
    ]


def task_tables(summary: Summary) -> list[dict[str, Any]]:
    """Per task: what answered, and a row per metric with a cell for each of them.

    The model answers first, then each baseline; one that has no figure of a metric has an empty
    cell. Findings, which have no matrix to show them one by one, have a row each.
    """
    answering = [("model", "", summary.get("classification", {}))]
    answering += [
        (name.replace("_", " "), block.get("description", ""), block.get("classification", {}))
        for name, block in summary.get("baselines", {}).items()
    ]
    return [
        {
            "task": task,
            "systems": [{"name": name, "description": text} for name, text, _ in answering],
            "rows": [
                {"metric": label, "cells": [_figure_cell(f.get(label)) for f in figures]}
                for label in _labelled_figures(block)
            ],
        }
        for task, block in summary.get("classification", {}).items()
        for figures in [[_labelled_figures(blocks.get(task, {})) for _, _, blocks in answering]]
    ]


def _figure_cell(figure: Mapping[str, Any] | None) -> Cells:
    if figure is None:
        return {"value": "", "interval": ""}
    chance = f"; against chance {p_text(figure['p_chance'])}" if "p_chance" in figure else ""
    return {"value": figure_text(figure), "interval": interval_text(figure) + chance}


def _labelled_figures(block: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """What a reader calls each figure of a task -> the figure."""
    figures = {m.label: block[m.name] for m in TASK_METRICS.values() if m.name in block}
    for finding, figure in block.get("auroc_by_class", {}).items():
        figures |= {
            f"AUROC of {finding}": figure,
            f"F1 of {finding}": block["f1_by_class"][finding],
        }
    return figures


def confusion_tables(summary: Summary) -> list[dict[str, Any]]:
    """Per task: class names, and rows of cells with count and percentage of the class."""
    tables = []
    for task, figures in summary.get("classification", {}).items():
        matrix = figures.get("confusion_matrix")
        if not matrix:
            continue
        rows = [
            {
                "name": matrix["classes"][true],
                "cells": [
                    {
                        "count": c,
                        "percent": round(100 * c / max(1, sum(counts))),
                        "is_right": k == true,
                    }
                    for k, c in enumerate(counts)
                ],
                "total": sum(counts),
            }
            for true, counts in enumerate(matrix["counts"])
        ]
        tables.append({"task": task, "classes": matrix["classes"], "rows": rows})
    return tables


def flat_rows(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """A nested record as pairs of dotted key and text; of a long list its length."""
    for key, value in record.items():
        if isinstance(value, Mapping):
            yield from ((f"{key}.{inner}", text) for inner, text in flat_rows(value))
        else:
            yield str(key), _record_text(value)


def _record_text(value: Any) -> str:
    if value is None:
        return NOT_MEASURED
    if isinstance(value, list):
        is_long = len(value) > _LONGEST_LIST
        return f"{len(value)} entries" if is_long else ", ".join(str(v) for v in value)
    return str(value)


def region_label(region: str) -> str:
    """What a reader calls a region of `summary.json`."""
    return "mean foreground" if region == MEAN_FOREGROUND else region


def metric_label(metric: str, nsd_tolerance_mm: float | None = None) -> str:
    """What a reader calls a metric of the masks, with its unit or tolerance."""
    declared = SEGMENTATION_METRICS.get(metric)
    if declared is None:
        return metric
    if metric == "nsd" and nsd_tolerance_mm is not None:
        return f"{declared.label} (tolerance {nsd_tolerance_mm:g} mm)"
    return f"{declared.label} ({declared.unit})" if declared.unit else declared.label


def _target_remark(row: Mapping[str, Any]) -> str:
    if row["value"] is None:
        return str(row.get("reason", NOT_MEASURED))
    if row.get("is_settled"):
        return "the interval lies on one side of the target"
    return "not settled: the interval is missing or contains the target"
