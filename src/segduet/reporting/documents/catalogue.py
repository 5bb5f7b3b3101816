"""The documents there are, by name, and how each is written."""

from collections.abc import Callable, Mapping
from functools import partial

from segduet.inference.bundles.model_card import (
    FROM_RECORD,
    NEEDS_PERSON,
    OPEN_PARTS,
    SETTINGS,
    score_rows,
    setting,
)
from segduet.reporting.documents import tables, training_facts
from segduet.reporting.documents.checklists import checklist_document
from segduet.reporting.documents.evidence import Evidence
from segduet.reporting.documents.facts import told
from segduet.reporting.documents.markdown import Markdown, render
from segduet.reporting.network_diagram import network_svg, shape_text
from segduet.reporting.training_summary import training_summary


def summary_document(e: Evidence) -> str:
    """The training in plain text, as `segduet report` writes it too."""
    return training_summary(
        e.dataset,
        e.history,
        e.summary,
        selected_by=e.selected_by,
        facts={
            "Model Parameters": told(e, "parameters"),
            "Training and Validation Samples": told(e, "case_counts"),
            "Figures of single epochs": _epoch_note(e),
            "Evaluated": told(e, "evaluated_cases"),
        },
    )


def analysis_document(e: Evidence) -> str:
    """The training discussed, section by section."""
    series = e.series
    return render(
        "training_analysis.md.j2",
        evidence=e,
        told=partial(told, e),
        best=training_facts.best_rows(series, e.selected_by),
        final_epoch=training_facts.last_epoch(series),
        final=training_facts.final_rows(series),
        peaks=training_facts.peak_rows(series),
        targets=training_facts.target_rows(e.summary),
        gaps=training_facts.gap_rows(e.summary),
        achieved=training_facts.achieved_rows(e.summary),
        unmeasured=training_facts.unmeasured_rows(e.history, e.summary),
        improving=[
            (t.name, training_facts.trend_text(t)) for t in training_facts.improving(series)
        ],
        trends=training_facts.trend_rows(series),
        overfitting=training_facts.overfitting_rows(series),
        actions=training_facts.actions(e.history, e.summary),
        epoch_note=_epoch_note(e),
        pauses=tables.pauses(e),
        warnings=tables.warnings(e),
    )


def technical_document(e: Evidence) -> str:
    """Methods, data, training, results and limits (F90)."""
    series = e.series
    return render(
        "technical_report.md.j2",
        evidence=e,
        told=partial(told, e),
        regions=tables.region_rows(e),
        tasks=tables.task_rows(e),
        confusions=tables.confusion_tables(e),
        targets=training_facts.target_rows(e.summary),
        final_epoch=training_facts.last_epoch(series),
        final=training_facts.final_rows(series),
        overfitting=training_facts.overfitting_rows(series),
        epoch_note=_epoch_note(e),
        warnings=tables.warnings(e),
    )


def card_document(e: Evidence) -> str:
    """The draft of a model card, in the parts that a bundle's card has (B21)."""
    return render(
        "model_card.md.j2",
        evidence=e,
        told=partial(told, e),
        from_record=Markdown(FROM_RECORD),
        needs_person=Markdown(NEEDS_PERSON),
        settings=[(label, setting(e.run, key)) for label, key in SETTINGS],
        scores=list(score_rows(e.summary or {})),
        open_parts=OPEN_PARTS,
    )


def network_document(e: Evidence) -> str:
    """Every block and module of the trained network (F97)."""
    return render("network.md.j2", evidence=e, shape=shape_text)


def network_picture(e: Evidence) -> str:
    """The diagram; a picture that says so where the network could not be run."""
    if e.network is None:
        return render("no_network.svg.j2")
    return network_svg(e.network, f"{e.dataset}, {e.run['configuration']}, fold {e.run['fold']}")


def _epoch_note(e: Evidence) -> str:
    patches = e.setting("recipe.validation.patches_per_epoch")
    full = next((line["full_case"].get("n") for line in e.history if line.get("full_case")), None)
    per_epoch = "an unrecorded number of" if patches is None else patches
    whole = "" if full is None else f", or over n = {full} whole cases (full_case)"
    return (
        f"means over {per_epoch} patches (validation){whole}, one value each, without an interval"
    )


#: Name of a document -> its files and how each is written.
DOCUMENTS: Mapping[str, Mapping[str, Callable[[Evidence], str]]] = {
    "training_summary": {"training_summary.md": summary_document},
    "training_analysis": {"training_analysis.md": analysis_document},
    "technical_report": {"technical_report.md": technical_document},
    "model_card": {"model_card.md": card_document},
    "claim_2024": {"claim_2024.md": partial(checklist_document, "claim_2024")},
    "tripod_ai": {"tripod_ai.md": partial(checklist_document, "tripod_ai")},
    "miccai_checklist": {"miccai_checklist.md": partial(checklist_document, "miccai")},
    "network": {"network.md": network_document, "network.svg": network_picture},
}
