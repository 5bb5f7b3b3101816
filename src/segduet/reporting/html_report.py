"""One self-contained HTML page: no network, no script, light and dark, phone and print (B18, F88).

Every number comes from an artefact; an artefact that is absent prints "not measured".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from segduet.core.labels import LabelScheme
from segduet.core.scores import CaseScores, Estimate
from segduet.core.version import __version__
from segduet.evaluation.intervals import selection_inflation
from segduet.reporting.history import History
from segduet.reporting.overlays import OverlayCase, overlay_png
from segduet.reporting.report_tables import (
    case_columns,
    case_rows,
    confusion_tables,
    flat_rows,
    headlines,
    region_rows,
    summary_cards,
    target_rows,
    task_rows,
)
from segduet.reporting.score_charts import dsc_spread_chart, dsc_volume_chart, value_charts
from segduet.reporting.training_charts import training_charts


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportInputs:
    """The artefacts a report is made of.

    Attributes:
        title: heading of the page.
        labels: regions of the dataset.
        facts: what a reader must know first: dataset, model, split, cases.
        summary: content of `summary.json`; None where nothing was evaluated.
        cases: content of `scores.csv`.
        metrics_history: lines of `metrics.jsonl`; None where nothing was trained.
        run_record: content of `run.json`.
        overlays: cases to draw, see `overlays.choose_overlay_cases`.
    """

    title: str
    labels: LabelScheme
    facts: Mapping[str, str] = field(default_factory=dict)
    summary: Mapping[str, Any] | None = None
    cases: Sequence[CaseScores] = ()
    metrics_history: History | None = None
    run_record: Mapping[str, Any] | None = None
    overlays: Sequence[OverlayCase] = ()


def render_report(inputs: ReportInputs) -> str:
    """The report as one HTML document.

    Names from outside (cases, classes, regions) are escaped everywhere; the page's own policy
    forbids scripts and any request to the network.
    """
    environment = Environment(
        loader=PackageLoader("segduet.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(_content(inputs))


def _content(inputs: ReportInputs) -> dict[str, Any]:
    summary = inputs.summary or {}
    return {
        "title": inputs.title,
        "version": __version__,
        "facts": {**inputs.facts, **_summary_facts(summary)},
        "cards": summary_cards(summary),
        "selection": _selection_warnings(summary),
        "targets": target_rows(summary),
        "curves": _drawings(
            training_charts(inputs.metrics_history or (), summary.get("targets", ()))
        ),
        "spread": _drawings(_score_charts(inputs, summary)),
        "values": _drawings(value_charts(inputs.cases)),
        "regions": region_rows(summary),
        "tasks": task_rows(summary),
        "confusions": confusion_tables(summary),
        "overlays": [
            {"png": overlay_png(o, inputs.labels.foreground), "case": o.case, "caption": o.caption}
            for o in inputs.overlays
        ],
        "case_columns": case_columns(inputs.cases, inputs.labels),
        "case_rows": case_rows(inputs.cases, inputs.labels),
        "run_record": list(flat_rows(inputs.run_record or {})),
    }


def _score_charts(inputs: ReportInputs, summary: Mapping[str, Any]) -> list[str]:
    regions = list(inputs.labels.foreground)
    charts = [
        dsc_spread_chart(inputs.cases, regions, summary.get("targets", ())),
        dsc_volume_chart(inputs.cases, regions),
    ]
    return [chart for chart in charts if chart]


def _drawings(charts: Sequence[str]) -> list[Markup]:
    # our own SVG: names in it went through matplotlib's and html.escape's escaping
    return [Markup(chart) for chart in charts]  # noqa: S704


def _summary_facts(summary: Mapping[str, Any]) -> dict[str, str]:
    if not summary:
        return {}
    return {
        "Cases evaluated": str(summary["n_cases"]),
        "Intervals": str(summary.get("interval", "not stated")),
        "Chosen from": f"{summary.get('selected_from', 'not stated')} candidate(s) on these cases",
    }


def _selection_warnings(summary: Mapping[str, Any]) -> list[str]:
    candidates = summary.get("selected_from") or 1
    if candidates < 2:
        return []
    return [
        f"{name}: picking the best of {candidates} on the cases it is reported on makes it look "
        f"better by up to {inflation:.3f}."
        for name, figure in headlines(summary)
        for inflation in [selection_inflation(_estimate(figure), selected_from=candidates)]
        if inflation > 0
    ]


def _estimate(figure: Mapping[str, Any]) -> Estimate:
    low_high = figure.get("ci95")
    return Estimate(
        value=figure.get("value"),
        ci95=(low_high[0], low_high[1]) if low_high else None,
        n=figure.get("n", 0),
    )
