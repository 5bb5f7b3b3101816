"""One self-contained HTML page: no network, light and dark, phone and print (B18, F88).

Every number comes from an artefact; an artefact that is absent prints "not measured".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from segduet.core.labels import LabelScheme
from segduet.core.scores import CaseScores
from segduet.reporting.calibration_charts import reliability_charts
from segduet.reporting.case_pictures import CasePictures
from segduet.reporting.case_table import case_table
from segduet.reporting.cohort_tables import advice_rows, answer_split_rows, subgroup_tables
from segduet.reporting.history import History
from segduet.reporting.page_assets import (
    data_block,
    drawings,
    niivue_script,
    own_script,
    rendered,
)
from segduet.reporting.report_tables import (
    confusion_tables,
    flat_rows,
    headlines,
    region_tables,
    summary_cards,
    target_rows,
    task_tables,
)
from segduet.reporting.score_charts import dsc_spread_chart, dsc_volume_chart, value_charts
from segduet.reporting.training_charts import training_charts
from segduet.reporting.viewer_data import viewer_labels


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
        record: name of a record (`training`, `evaluation`) -> its content.
        advice: the pieces of `advice.json`; empty where nobody asked for it.
        pictures: what is shown of the cases, worst case first; a case may be absent.
    """

    title: str
    labels: LabelScheme
    facts: Mapping[str, str] = field(default_factory=dict)
    summary: Mapping[str, Any] | None = None
    cases: Sequence[CaseScores] = ()
    metrics_history: History | None = None
    record: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    advice: Sequence[Mapping[str, Any]] = ()
    pictures: Sequence[CasePictures] = ()


def render_report(inputs: ReportInputs) -> str:
    """The report as one HTML document.

    Names from outside (cases, classes, regions) are escaped everywhere; the page's own policy
    allows its own scripts, each by its hash, and no request to the network.
    """
    return rendered("report.html.j2", _content(inputs))


def _content(inputs: ReportInputs) -> dict[str, Any]:
    summary = inputs.summary or {}
    return {
        "title": inputs.title,
        "facts": {**inputs.facts, **_summary_facts(summary)},
        "cards": summary_cards(summary),
        "definitions": summary.get("definitions", {}),
        "subgroups": subgroup_tables(summary),
        "answer_splits": answer_split_rows(summary),
        "advice": advice_rows(inputs.advice),
        "interval": summary.get("interval", "not stated"),
        "selection": _selection_warnings(summary),
        "targets": target_rows(summary),
        "regions": region_tables(summary),
        "tasks": task_tables(summary),
        "confusions": confusion_tables(summary),
        "record": [
            {"name": name, "rows": list(flat_rows(content))}
            for name, content in inputs.record.items()
        ],
        **_charts(inputs, summary),
        **_shown_cases(inputs),
    }


def _charts(inputs: ReportInputs, summary: Mapping[str, Any]) -> dict[str, list[Markup]]:
    history, targets = inputs.metrics_history or (), summary.get("targets", ())
    charts = {
        "curves": training_charts(history, targets),
        "spread": _score_charts(inputs, summary),
        "reliability": reliability_charts(inputs.cases),
        "values": value_charts(inputs.cases),
    }
    return {name: drawings(drawn) for name, drawn in charts.items()}


def _shown_cases(inputs: ReportInputs) -> dict[str, Any]:
    viewer = _viewer(inputs)
    scripts = [own_script("table.js")]
    if viewer:
        scripts += [niivue_script(), own_script("viewer.js")]
    return {
        "cases": case_table(inputs.cases, inputs.labels),
        "strips": {p.case: p.strip for p in inputs.pictures if p.strip},
        "panels": max((p.strip.panels for p in inputs.pictures if p.strip), key=len, default=()),
        "close_ups": [p for p in inputs.pictures if p.close_up],
        "left_out": [f"{p.case}: {p.left_out}" for p in inputs.pictures if p.left_out],
        "viewer": viewer,
        "viewable": {case["case"] for case in viewer["cases"]} if viewer else set(),
        "scripts": scripts,
    }


def _viewer(inputs: ReportInputs) -> dict[str, Any] | None:
    """What the viewer's section shows; None where no case has volumes in the page."""
    cases = [picture.volumes for picture in inputs.pictures if picture.volumes]
    if not cases:
        return None
    content = {"labels": viewer_labels(inputs.labels), "cases": cases}
    return {"cases": cases, "data": data_block(content)}


def _score_charts(inputs: ReportInputs, summary: Mapping[str, Any]) -> list[str]:
    regions = list(inputs.labels.foreground)
    charts = [
        dsc_spread_chart(inputs.cases, regions, summary.get("targets", ())),
        dsc_volume_chart(inputs.cases, regions),
    ]
    return [chart for chart in charts if chart]


def _summary_facts(summary: Mapping[str, Any]) -> dict[str, str]:
    if not summary:
        return {}
    return {
        "Cases evaluated": str(summary["n_cases"]),
        "Chosen from": f"{summary.get('selected_from', 'not stated')} candidate(s) on these cases",
    }


def _selection_warnings(summary: Mapping[str, Any]) -> list[str]:
    candidates = summary.get("selected_from") or 1
    return [
        f"{name}: picking the best of {candidates} on the cases it is reported on makes it look "
        f"better by up to {figure['optimism']:.3f}."
        for name, figure in headlines(summary)
        if figure.get("optimism")
    ]
