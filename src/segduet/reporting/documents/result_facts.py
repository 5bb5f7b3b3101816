"""Sentences about what was measured, read from summary.json and from manifests."""

from collections.abc import Mapping
from typing import Any

from segduet.metrics.declared import headline_metric
from segduet.reporting.documents.evidence import Evidence
from segduet.reporting.documents.figures import figure_sentence, is_measured, metric_name
from segduet.reporting.documents.training_facts import (
    actions,
    improving,
    is_overfitting,
    trend_text,
)
from segduet.reporting.wording import figure_value


def evaluated_cases(e: Evidence) -> str | None:
    """How many cases were scored."""
    if e.summary is None:
        return None
    return f"{e.summary['n_cases']} cases were evaluated whole (of {e.reference}: {e.evaluated})."


def evaluation_source(e: Evidence) -> str | None:
    """Where the evaluated cases come from."""
    if e.summary is None:
        return None
    return f"Evaluated on {e.reference}, {e.evaluated}: {e.summary['n_cases']} cases."


def metrics(e: Evidence) -> str | None:
    """What was measured."""
    if e.summary is None:
        return None
    told = []
    for kind in ("segmentation", "classification"):
        names = dict.fromkeys(metric_name(name) for _, name, _ in e.figures(kind))
        told.append(f"{kind}: {', '.join(names) or 'none'}")
    return f"{'; '.join(told)}. Definitions: docs/guide/metrics.md of segduet."


def uncertainty(e: Evidence) -> str | None:
    """How intervals were made."""
    if e.summary is None or not e.summary.get("interval"):
        return None
    kept = ("p_chance", "optimism")
    definitions = e.summary.get("definitions", {})
    told = [f"{e.summary['interval']}, seed {e.summary.get('seed')}"]
    told += [f"{key}: {text}" for key, text in definitions.items() if key in kept]
    return f"{'; '.join(told)}."


def performance(e: Evidence) -> str | None:
    """The headline of every region and task."""
    told = [
        f"DSC of {region} {figure_sentence(figure, e.selected_from)}"
        for region, name, figure in e.figures("segmentation")
        if name == "dsc"
    ]
    for task, measured in (e.summary or {}).get("classification", {}).items():
        name = headline_metric(measured).name
        sentence = figure_sentence(measured[name], e.selected_from)
        told.append(f"{metric_name(name)} of {task} {sentence}")
    return f"{'; '.join(told)}." if told else None


def spread(e: Evidence) -> str | None:
    """Standard deviation and median over the cases."""
    told = [
        f"DSC of {region}: sd {figure['sd']:.3f}, median {figure['median']:.3f}, n = {figure['n']}"
        for region, name, figure in e.figures("segmentation")
        if name == "dsc" and figure.get("sd") is not None
    ]
    return f"{'; '.join(told)}." if told else None


def class_performance(e: Evidence) -> str | None:
    """F1 of every class."""
    told = [
        f"F1 of {task} {name} {figure_sentence(figure, e.selected_from)}"
        for task, measured in (e.summary or {}).get("classification", {}).items()
        for name, figure in measured.get("f1_by_class", {}).items()
    ]
    return f"{'; '.join(told)}." if told else None


def calibration(e: Evidence) -> str | None:
    """How far probabilities can be believed."""
    told = [
        f"{metric_name(name)} of {task} {figure_sentence(figure, e.selected_from)}"
        for task, name, figure in e.figures("classification")
        if name in ("ece", "brier") and is_measured(figure)
    ]
    return f"{'; '.join(told)}." if told else None


def baselines(e: Evidence) -> str | None:
    """What answers that look at nothing reach."""
    told = []
    for baseline in (e.summary or {}).get("baselines", {}).values():
        for task, measured in baseline["classification"].items():
            name = headline_metric(measured).name
            # a baseline was not chosen from anything
            told.append(
                f"{metric_name(name)} of {task} {figure_sentence(measured[name], 1)} by: "
                f"{baseline['description']}"
            )
    return f"{'; '.join(told)}." if told else None


def targets(e: Evidence) -> str | None:
    """Which thresholds were declared, and which are met."""
    rows = (e.summary or {}).get("targets", [])
    told = [f"{row['name']} {row['threshold']:g}: {row['status']}" for row in rows]
    return f"Declared targets: {'; '.join(told)}." if told else None


def subgroups(e: Evidence) -> str | None:
    """The largest gap of every figure between groups of cases, with its test."""
    told = []
    for by, division in (e.summary or {}).get("subgroups", {}).items():
        sizes = ", ".join(f"{g} n = {c['n_cases']}" for g, c in division["groups"].items())
        told.append(f"By {by} ({sizes}; unknown: {division['n_unknown']})")
        told += [f"{path}: {_gap_text(gap)}" for path, gap in division["gaps"].items()]
    return f"{'; '.join(told)}." if told else None


def _gap_text(gap: Mapping[str, Any]) -> str:
    if gap["value"] is None:
        return f"no gap, {gap['reason']}"
    between = f"{gap['highest']} above {gap['lowest']}"
    return f"{between} by {gap['value']:.3f} (permutation test p = {gap['p']:.2g}, no interval)"


def failures(e: Evidence) -> str | None:
    """Wrong answers and undefined scores, counted."""
    if e.summary is None:
        return None
    told = []
    for task, measured in e.summary.get("classification", {}).items():
        counts = measured.get("confusion_matrix", {}).get("counts")
        if counts:
            total, right = sum(map(sum, counts)), sum(row[i] for i, row in enumerate(counts))
            told.append(f"{total - right} of {total} cases have a wrong {task}")
    for region, name, figure in e.figures("segmentation"):
        if name == "dsc" and figure.get("n_undefined"):
            told.append(f"the DSC of {region} is undefined in {figure['n_undefined']} cases")
    return f"{'; '.join(told)}." if told else None


def limitations(e: Evidence) -> str | None:
    """What the record itself says against its own figures."""
    if e.summary is None:
        return None
    told = [f"One training, seed {e.run['seed']}: the spread over seeds was not measured."]
    told += _limits_of_the_cases(e)
    if is_overfitting(e.series):
        told.append("Validation loss rises while training loss falls: signs of overfitting.")
    told += [f"{t.name} still improved at the end: {trend_text(t)}." for t in improving(e.series)]
    return " ".join(told)


def next_actions(e: Evidence) -> str | None:
    """What the declared rules ask for."""
    return " ".join(actions(e.history, e.summary)) if e.summary is not None else None


def _limits_of_the_cases(e: Evidence) -> list[str]:
    assert e.summary is not None
    told = [f"n = {e.summary['n_cases']} evaluated cases, {_origin(e)}."]
    if (e.selected_from or 1) > 1:
        told.append(
            f"The model is the best of {e.selected_from} candidates on these very cases, so its "
            "figures are too good."
        )
    rows = e.summary.get("targets", [])
    unsettled = [r["name"] for r in rows if r["status"] == "PASS" and not r["is_settled"]]
    if unsettled:
        told.append(f"Passed, but the interval contains the target: {', '.join(unsettled)}.")
    if undecided := _undecided_baselines(e):
        told.append(f"Not clearly better than a baseline: {'; '.join(undecided)}.")
    return told


def _origin(e: Evidence) -> str:
    """Whether the evaluated cases come from the dataset of the training, by its name."""
    if e.reference == e.dataset:
        return f"of the dataset the training used, {e.dataset}: no external evaluation"
    return f"of {e.reference}, while the training used {e.dataset}"


def _undecided_baselines(e: Evidence) -> list[str]:
    """Tasks whose interval reaches down to a baseline's value; macro-F1 only, where higher wins."""
    found = []
    for task, measured in (e.summary or {}).get("classification", {}).items():
        interval = measured.get("macro_f1", {}).get("ci95")
        for baseline in (e.summary or {}).get("baselines", {}).values():
            reached = baseline["classification"].get(task, {}).get("macro_f1")
            value = figure_value(reached) if reached else None
            if interval and value is not None and interval[0] <= value:
                found.append(f"{task} ({baseline['description']})")
    return found
