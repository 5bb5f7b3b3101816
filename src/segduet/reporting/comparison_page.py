"""One page for runs on the same cases: figures side by side, and the paired tests (B18)."""

from typing import Any

from segduet.evaluation.comparison_file import (
    Comparison,
    Difference,
    FigureEntry,
    FigureRow,
    RunEntry,
)
from segduet.reporting.difference_charts import difference_charts, figure_name
from segduet.reporting.page_assets import drawings, rendered
from segduet.reporting.report_tables import region_label
from segduet.reporting.wording import NOT_MEASURED, interval_text, number_text, p_text

_PARTS = {"segmentation": "Segmentation", "classification": "Classification"}
_MARKS = {"better": "▲ better", "worse": "▼ worse", "not settled": "not settled"}


def render_comparison(comparison: Comparison) -> str:
    """The content of a `comparison.json` as one HTML document without any script."""
    others = [run.name for run in comparison.runs if run.name != comparison.reference]
    return rendered(
        "comparison.html.j2",
        {
            "title": f"{', '.join(others)} against {comparison.reference}",
            "facts": {
                "Reference run": comparison.reference,
                "Cases": f"{comparison.runs[0].n_cases}, the same in every run",
                "Patients": str(comparison.runs[0].n_patients),
                "Seed": str(comparison.seed),
            },
            "runs": [_run(run) for run in comparison.runs],
            "charts": drawings(difference_charts(comparison)),
            "tables": _tables(comparison),
            "splits": _splits(comparison),
            "notes": [comparison.interval, comparison.test, comparison.correction],
            "scripts": [],
        },
    )


def _run(run: RunEntry) -> dict[str, Any]:
    answers = [*(["masks"] if run.measures_masks else []), *run.tasks]
    return {
        "name": run.name,
        "answers": ", ".join(answers),
        "selected_from": run.selected_from,
    }


def _tables(comparison: Comparison) -> list[dict[str, Any]]:
    return [
        {"name": name, "rows": rows}
        for part, name in _PARTS.items()
        for rows in [[_row(r, comparison) for r in comparison.rows if r.part == part]]
        if rows
    ]


def _row(row: FigureRow, comparison: Comparison) -> dict[str, Any]:
    by_run = {difference.run: difference for difference in row.differences}
    return {
        "figure": figure_name(row) + (f" ({row.unit})" if row.unit else ""),
        "better": "higher is better" if row.better == "higher" else "lower is better",
        "cells": [
            {
                **_figure(row.values.get(run.name)),
                "difference": _difference(by_run.get(run.name)),
            }
            for run in comparison.runs
        ],
    }


def _figure(figure: FigureEntry | None) -> dict[str, str]:
    if figure is None:
        return {"value": NOT_MEASURED, "interval": ""}
    interval = interval_text(figure.model_dump())
    if figure.optimism:
        interval += f"; up to {figure.optimism:.3f} too good, as the best of several"
    return {"value": number_text(figure.value), "interval": interval}


def _difference(found: Difference | None) -> dict[str, str] | None:
    """What a run's cell says about the reference; None in the reference's own column."""
    if found is None:
        return None
    figure = found.difference
    if figure.value is None:
        return {"text": f"{NOT_MEASURED}: {figure.reason}", "verdict": found.verdict, "mark": ""}
    interval = f" ({figure.ci95[0]:+.3f} to {figure.ci95[1]:+.3f})" if figure.ci95 else ""
    parts = [f"{figure.value:+.3f}{interval}"]
    if found.p_holm is not None:
        parts.append(f"{p_text(found.p_holm)}, n = {figure.n}")
    if found.n_better is not None:
        parts.append(f"better in {found.n_better}, worse in {found.n_worse}")
    return {
        "text": "; ".join(parts),
        "verdict": found.verdict.replace(" ", "-"),
        "mark": _MARKS.get(found.verdict, ""),
    }


def _splits(comparison: Comparison) -> list[dict[str, Any]]:
    return [
        {
            "run": run.name,
            "task": split.task,
            "region": region_label(split.region),
            "cells": [_figure(f) for f in (split.right, split.wrong, split.difference)],
        }
        for run in comparison.runs
        for split in run.dsc_by_answer
    ]
