"""A training run in plain text: best, final and peak figures, targets, overfitting, next actions.

The layout people know from training logs, with each number from an artefact (F89); patch figures
keep their names.
"""

from collections.abc import Mapping
from typing import Any

from segduet.reporting.documents import training_facts as facts_of
from segduet.reporting.documents.markdown import render
from segduet.reporting.history import History, read_series


def training_summary(
    title: str,
    history: History,
    summary: Mapping[str, Any] | None,
    *,
    selected_by: str | None,
    facts: Mapping[str, str] | None = None,
) -> str:
    """The summary of a run as Markdown that reads well as plain text.

    Args:
        title: what was trained on what.
        history: lines of `metrics.jsonl`; may be empty.
        summary: content of `summary.json`; None where nothing was evaluated.
        selected_by: name of the series the kept checkpoint was chosen by, such as
            `full_case/score`; None where nothing was chosen and the last epoch is kept.
        facts: rows for the overview, such as parameters and numbers of cases.
    """
    series = read_series(history)
    return render(
        "training_summary.md.j2",
        title=title,
        overview=[*facts_of.epoch_rows(history, series), *(facts or {}).items()],
        best=facts_of.best_rows(series, selected_by),
        final_epoch=facts_of.last_epoch(series),
        final=facts_of.final_rows(series),
        peaks=facts_of.peak_rows(series),
        targets=facts_of.target_rows(summary),
        gaps=facts_of.gap_rows(summary),
        achieved=facts_of.achieved_rows(summary),
        unmeasured=facts_of.unmeasured_rows(history, summary),
        overfitting=facts_of.overfitting_rows(series),
        trends=facts_of.trend_rows(series),
        actions=facts_of.actions(history, summary),
    )
