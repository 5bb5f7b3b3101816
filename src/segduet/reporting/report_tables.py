"""What the tables and cards of the report hold, as plain text ready for the template."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from segduet.core.labels import LabelScheme
from segduet.core.scores import CaseScores, Score
from segduet.core.tasks import TaskKind
from segduet.evaluation.cohort import MEAN_FOREGROUND, mean_foreground_dsc
from segduet.metrics.declared import SEGMENTATION_METRICS, TASK_METRICS, headline_metric
from segduet.reporting.answer_wording import answer_heading, answer_text, is_wrong
from segduet.reporting.wording import (
    NOT_MEASURED,
    figure_text,
    figure_value,
    interval_text,
    number_text,
)

Summary = Mapping[str, Any]
Cells = dict[str, str]


def summary_cards(summary: Summary) -> list[Cells]:
    """DSC of each region and the main figure of each task: `name`, `value`, `interval`."""
    regions = summary.get("segmentation", {})
    # the mean over regions first: it is the one number of the segmentation
    ordered = sorted(regions, key=lambda region: region != MEAN_FOREGROUND)
    cards = [(f"DSC {_region_label(r)}", regions[r].get("dsc", {})) for r in ordered]
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


def region_rows(summary: Summary) -> list[Cells]:
    """One row per region and metric with mean, interval, sd, median and undefined cases."""
    return [
        {
            "region": _region_label(region),
            "metric": _metric_label(metric, summary.get("nsd_tolerance_mm")),
            "mean": number_text(figure_value(figure)),
            "interval": interval_text(figure),
            "sd": number_text(figure.get("sd")),
            "median": number_text(figure.get("median")),
            "undefined": str(figure.get("n_undefined", 0)),
        }
        for region, metrics in summary.get("segmentation", {}).items()
        for metric, figure in metrics.items()
    ]


def task_rows(summary: Summary) -> list[Cells]:
    """One row per task, metric and answering system: the model first, then each baseline.

    Findings, which have no matrix to show them one by one, have a row each.
    """
    systems = [("model", "", summary.get("classification", {}))]
    systems += [
        (name, block.get("description", ""), block.get("classification", {}))
        for name, block in summary.get("baselines", {}).items()
    ]
    return [
        {
            "task": task,
            "metric": label,
            "system": system.replace("_", " "),
            "description": description,
            "value": figure_text(figures[label]),
            "interval": interval_text(figures[label]),
        }
        for task, block in summary.get("classification", {}).items()
        for label in _labelled_figures(block)
        for system, description, blocks in systems
        for figures in [_labelled_figures(blocks.get(task, {}))]
        if label in figures
    ]


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


def case_rows(cases: Sequence[CaseScores], labels: LabelScheme) -> list[dict[str, Any]]:
    """One row per case, worst mean foreground DSC first, cases without one last."""
    scored = [(mean_foreground_dsc(case, labels), case) for case in cases]
    scored.sort(key=lambda pair: (pair[0].value is None, pair[0].value or 0.0, pair[1].case))
    return [
        {
            "case": case.case,
            "mean": _score_text(mean),
            "regions": [_region_cell(case, region) for region in labels.foreground],
            "answers": [
                {"text": answer_text(answer), "is_wrong": is_wrong(answer)}
                for answer in (case.answers.get(task) for task in _tasks(cases))
            ],
        }
        for mean, case in scored
    ]


def case_columns(cases: Sequence[CaseScores], labels: LabelScheme) -> list[str]:
    """Headings of `case_rows`."""
    regions = [f"{region}: DSC (reference / predicted ml)" for region in labels.foreground]
    headings = [answer_heading(task, kind) for task, kind in _tasks(cases).items()]
    return ["case", "mean DSC", *regions, *headings]


def flat_rows(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """A nested record as pairs of dotted key and text."""
    for key, value in record.items():
        if isinstance(value, Mapping):
            yield from ((f"{key}.{inner}", text) for inner, text in flat_rows(value))
        else:
            yield str(key), NOT_MEASURED if value is None else str(value)


def _region_label(region: str) -> str:
    return "mean foreground" if region == MEAN_FOREGROUND else region


def _metric_label(metric: str, nsd_tolerance_mm: float | None) -> str:
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


def _tasks(cases: Sequence[CaseScores]) -> dict[str, TaskKind]:
    return {task: answer.kind for case in cases for task, answer in case.answers.items()}


def _region_cell(case: CaseScores, region: str) -> str:
    if region not in case.segmentation:
        return NOT_MEASURED
    volumes = " / ".join(f"{volume:.2f}" for volume in case.volumes_ml.get(region, ()))
    return f"{_score_text(case.segmentation[region]['dsc'])} ({volumes})"


def _score_text(score: Score) -> str:
    return score.reason if score.value is None else number_text(score.value)
