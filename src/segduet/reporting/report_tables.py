"""What the tables and cards of the report hold, as plain text ready for the template."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from segduet.core.labels import LabelScheme
from segduet.core.scores import CaseScores, Score
from segduet.evaluation.cohort import MEAN_FOREGROUND, mean_foreground_dsc
from segduet.metrics.declared import CLASSIFICATION_METRICS, SEGMENTATION_METRICS
from segduet.reporting.wording import NOT_MEASURED, figure_value, interval_text, number_text

Summary = Mapping[str, Any]
Cells = dict[str, str]


def summary_cards(summary: Summary) -> list[Cells]:
    """DSC of each region and macro-F1 of each task: `name`, `value`, `interval`."""
    regions = summary.get("segmentation", {})
    # the mean over regions first: it is the one number of the segmentation
    ordered = sorted(regions, key=lambda region: region != MEAN_FOREGROUND)
    cards = [(f"DSC {_region_label(r)}", regions[r].get("dsc", {})) for r in ordered]
    cards += [
        (f"macro-F1 {task}", figures.get("macro_f1", {}))
        for task, figures in summary.get("classification", {}).items()
    ]
    return [
        {
            "name": name,
            "value": number_text(figure_value(figure)),
            "interval": interval_text(figure) if figure else NOT_MEASURED,
        }
        for name, figure in cards
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
            "metric": _metric_label(metric),
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
    """One row per task, metric and answering system: the model first, then each baseline."""
    systems = [("model", "", summary.get("classification", {}))]
    systems += [
        (name, block.get("description", ""), block.get("classification", {}))
        for name, block in summary.get("baselines", {}).items()
    ]
    return [
        {
            "task": task,
            "metric": metric.label,
            "system": system.replace("_", " "),
            "description": description,
            "value": number_text(figure_value(figures[metric.name])),
            "interval": interval_text(figures[metric.name]),
        }
        for task in summary.get("classification", {})
        for metric in CLASSIFICATION_METRICS.values()
        for system, description, blocks in systems
        for figures in [blocks.get(task, {})]
        if metric.name in figures
    ]


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
                {"text": _answer_text(case, task), "is_wrong": _is_wrong(case, task)}
                for task in _tasks(cases)
            ],
        }
        for mean, case in scored
    ]


def case_columns(cases: Sequence[CaseScores], labels: LabelScheme) -> list[str]:
    """Headings of `case_rows`."""
    regions = [f"{region}: DSC (reference / predicted ml)" for region in labels.foreground]
    return ["case", "mean DSC", *regions, *(f"{t}: true → answer (p)" for t in _tasks(cases))]


def flat_rows(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """A nested record as pairs of dotted key and text."""
    for key, value in record.items():
        if isinstance(value, Mapping):
            yield from ((f"{key}.{inner}", text) for inner, text in flat_rows(value))
        else:
            yield str(key), NOT_MEASURED if value is None else str(value)


def _region_label(region: str) -> str:
    return "mean foreground" if region == MEAN_FOREGROUND else region


def _metric_label(metric: str) -> str:
    declared = SEGMENTATION_METRICS.get(metric)
    if declared is None:
        return metric
    return f"{declared.label} ({declared.unit})" if declared.unit else declared.label


def _target_remark(row: Mapping[str, Any]) -> str:
    if row["value"] is None:
        return str(row.get("reason", NOT_MEASURED))
    if row.get("is_settled"):
        return "the interval lies on one side of the target"
    return "not settled: the interval is missing or contains the target"


def _tasks(cases: Sequence[CaseScores]) -> list[str]:
    return list(dict.fromkeys(task for case in cases for task in case.answers))


def _region_cell(case: CaseScores, region: str) -> str:
    if region not in case.segmentation:
        return NOT_MEASURED
    volumes = " / ".join(f"{volume:.2f}" for volume in case.volumes_ml.get(region, ()))
    return f"{_score_text(case.segmentation[region]['dsc'])} ({volumes})"


def _score_text(score: Score) -> str:
    return score.reason if score.value is None else number_text(score.value)


def _answer_text(case: CaseScores, task: str) -> str:
    answer = case.answers.get(task)
    if answer is None:
        return NOT_MEASURED
    truth = answer.reference or "unknown"
    return f"{truth} → {answer.predicted} ({max(answer.probabilities):.2f})"


def _is_wrong(case: CaseScores, task: str) -> bool:
    answer = case.answers.get(task)
    return bool(answer and answer.reference and answer.reference != answer.predicted)
