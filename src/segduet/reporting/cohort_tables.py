"""Tables of parts of a cohort: by group, by right and wrong answers; and advice on metrics."""

from collections.abc import Mapping, Sequence
from typing import Any

from segduet.metrics.declared import TASK_METRICS
from segduet.reporting.report_tables import metric_label, region_label
from segduet.reporting.wording import (
    difference_text,
    figure_text,
    interval_text,
    number_text,
    p_text,
)

Summary = Mapping[str, Any]
_VERDICTS = {"look": "look at", "careful": "be careful with", "uninformative": "leave out"}


def subgroup_tables(summary: Summary) -> list[dict[str, Any]]:
    """Per division of the cases: its groups with their sizes, and a row per figure.

    The last cell of a row is the gap between the highest and the lowest group.
    """
    return [
        {
            "by": by,
            "unknown": division["n_unknown"],
            "groups": [
                {"name": name, "cases": group["n_cases"], "patients": group["n_patients"]}
                for name, group in division["groups"].items()
            ],
            "rows": [
                {
                    "figure": figure_label(path),
                    "cells": [
                        _cell(group["figures"][path]) for group in division["groups"].values()
                    ],
                    "gap": _gap_text(gap),
                }
                for path, gap in division["gaps"].items()
            ],
        }
        for by, division in summary.get("subgroups", {}).items()
    ]


def answer_split_rows(summary: Summary) -> list[dict[str, Any]]:
    """Per task and region: DSC of rightly and of wrongly answered cases, and their difference."""
    return [
        {
            "task": task,
            "region": region_label(region),
            "right": _cell(split["right"]),
            "wrong": _cell(split["wrong"]),
            "difference": {
                "value": difference_text(split["difference"]),
                "interval": interval_text(split["difference"]),
            },
        }
        for task, regions in summary.get("dsc_by_answer", {}).items()
        for region, split in regions.items()
    ]


def advice_rows(advice: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """One row per piece of advice: what it is about, what to do, and why."""
    return [
        {
            "subject": piece["subject"],
            "verdict": " ".join(
                [
                    _VERDICTS[piece["verdict"]],
                    ", ".join(_metric_name(m) for m in piece["metrics"]) or "every figure",
                ]
            ),
            "why": piece["why"],
            "source": piece["source"],
        }
        for piece in advice
    ]


def figure_label(path: str) -> str:
    """`segmentation/organ/dsc` -> `DSC organ`, as cards and charts name it."""
    part, rest = path.split("/", 1)
    subject, metric = rest.rsplit("/", 1)  # a region's name may have a slash of its own
    if part == "segmentation":
        return f"{metric_label(metric)} {region_label(subject)}"
    return f"{_metric_name(metric)} {subject}"


def _metric_name(metric: str) -> str:
    declared = TASK_METRICS.get(metric)
    return declared.label if declared else metric_label(metric)


def _cell(figure: Mapping[str, Any]) -> dict[str, str]:
    return {"value": figure_text(figure), "interval": interval_text(figure)}


def _gap_text(gap: Mapping[str, Any]) -> str:
    if gap["value"] is None:
        return f"not measured: {gap['reason']}"
    between = f"{gap['highest']} above {gap['lowest']}"
    return f"{number_text(gap['value'])}, {between}, {p_text(gap['p'])}"
