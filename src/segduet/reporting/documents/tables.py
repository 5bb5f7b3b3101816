"""Rows of the tables in the technical report and the analysis, read from the artefacts."""

from collections.abc import Mapping
from typing import Any

from segduet.reporting.documents.evidence import Evidence
from segduet.reporting.documents.figures import figure_cells, metric_name

Cells = list[str]


def region_rows(e: Evidence) -> list[Cells]:
    """Region, metric, value, interval, n, selected_from, remarks, undefined, of every region."""
    return [
        [
            region,
            metric_name(name),
            *figure_cells(figure, e.selected_from),
            str(figure.get("n_undefined", "not recorded")),
        ]
        for region, name, figure in e.figures("segmentation")
    ]


def task_rows(e: Evidence) -> list[Cells]:
    """Task, metric, value, interval, n, selected_from, remarks; figures by class come last."""
    rows = [
        [task, metric_name(name), *figure_cells(figure, e.selected_from)]
        for task, name, figure in e.figures("classification")
    ]
    for task, measured in (e.summary or {}).get("classification", {}).items():
        rows += [
            [task, f"F1 of {name}", *figure_cells(figure, e.selected_from)]
            for name, figure in measured.get("f1_by_class", {}).items()
        ]
    return rows


def confusion_tables(e: Evidence) -> list[dict[str, Any]]:
    """Task, classes and rows (reference class and counts) of every confusion matrix."""
    return [
        {
            "task": task,
            "classes": matrix["classes"],
            "rows": list(zip(matrix["classes"], matrix["counts"], strict=True)),
        }
        for task, measured in (e.summary or {}).get("classification", {}).items()
        if (matrix := measured.get("confusion_matrix"))
    ]


def pauses(e: Evidence) -> str:
    """What the thermal protection did."""
    thermal = e.setting("recipe.thermal")
    if not isinstance(thermal, Mapping):
        return "not measured"
    if not thermal.get("enabled"):
        return "off"
    count = sum(len(line.get("pauses", ())) for line in e.history)
    seconds = sum(line.get("paused_seconds", 0.0) for line in e.history)
    return (
        f"on (processor below {thermal['cpu_limit_celsius']:g} C, graphics card below "
        f"{thermal['gpu_limit_celsius']:g} C): {count} pauses, {seconds:.0f} s"
    )


def warnings(e: Evidence) -> list[str]:
    """What the commands warned of, training first."""
    manifests = (e.training_manifest, e.prediction_manifest, e.evaluation_manifest)
    return [
        str(text) for manifest in manifests if manifest for text in manifest.get("warnings", ())
    ]
