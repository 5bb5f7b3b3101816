"""Issue 5: docs/guide/metrics.md has a section on every metric, and it says what the code does."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from segduet.core.geometry import Geometry
from segduet.core.tasks import TaskSpec
from segduet.evaluation.measures import TaskMeasures, task_measures
from segduet.metrics.declared import (
    CLASSIFICATION_METRICS,
    REGRESSION_METRICS,
    SEGMENTATION_METRICS,
    DeclaredMetric,
)

METRICS = {**SEGMENTATION_METRICS, **CLASSIFICATION_METRICS, **REGRESSION_METRICS}
#: Tables rather than figures.
TABLES = {"confusion_matrix", "f1_by_class", "auroc_by_class"}
HEAD = re.compile(r"\*\*(.+)\*\* · unit: (.+) · range: (.+) · better: (higher|lower|zero)")
TOOLS = {
    "metrics_reloaded": "MetricsReloaded",
    "monai": "MONAI",
    "medpy": "MedPy",
    "scipy": "scipy",
    "sklearn": "scikit-learn",
    "surface_distance": "surface-distance",
    "torchmetrics": "torchmetrics",
}
#: What the stored values call a metric, where it is not our name.
STORED = {
    "nsd": "nsd_2mm",
    "hd95_mm": "hd95",
    "assd_mm": "assd",
    "volume_difference_ml": "volume_difference_mm3",
    "lesion_recall": "lesion_tp",
    "lesion_precision": "lesion_tp_pred",
    "quadratic_kappa": "cohen_kappa_quadratic",
    "brier": "brier_sum",
    "ece": "ece_10",
    "confusion_matrix": "",
    "f1_by_class": "f1_class_0",
    "auroc_by_class": "auroc_class_0",
}


@pytest.fixture(scope="module")
def sections(repository: Path) -> dict[str, str]:
    """Metric name -> its section."""
    text = (repository / "docs" / "guide" / "metrics.md").read_text(encoding="utf-8")
    parts = re.split(r"^### `(\w+)`\n", text.replace("\n## ", "\n### `end`\n"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_metric_has_its_section_and_no_other_has(sections: dict[str, str]) -> None:
    assert set(sections) - {"end"} == set(METRICS) | TABLES


@pytest.mark.parametrize("metric", METRICS.values(), ids=lambda m: m.name)
def test_name_unit_and_direction_are_those_declared(
    sections: dict[str, str], metric: DeclaredMetric
) -> None:
    head = HEAD.search(sections[metric.name])
    assert head is not None
    label, unit, _, better = head.groups()
    assert (label, unit, better) == (metric.label, metric.unit or "none", metric.better)


@pytest.mark.parametrize("name", METRICS)
def test_a_section_tells_what_is_undefined_what_is_hidden_and_what_it_was_checked_against(
    sections: dict[str, str], name: str
) -> None:
    edges = ("Empty", "Edge") if name in SEGMENTATION_METRICS else ("Undefined",)
    kinds = ("Kinds",) if name in CLASSIFICATION_METRICS else ()
    points = re.findall(r"^- (\w+): \S", sections[name], re.MULTILINE)
    assert points == [*kinds, *edges, "Hides", "Checked"]
    definition = HEAD.sub("", sections[name]).partition("\n- ")[0]
    assert len(definition.strip()) > 20


def measures_of(kind: str) -> TaskMeasures:
    classes = () if kind == "regression" else ("a", "b") if kind == "binary" else ("a", "b", "c")
    task = TaskSpec(name="task", kind=kind, classes=classes)
    truth = {"regression": np.zeros(2), "multilabel": np.zeros((2, 3), dtype=bool)}
    return task_measures(
        task, truth.get(kind, np.array([0, 1])), np.full((2, task.answer_size), 0.5)
    )


def test_the_kinds_of_a_figure_are_those_it_is_measured_for(sections: dict[str, str]) -> None:
    """F82: every declared figure is measured for some kind of task."""
    kinds = ("binary", "multiclass", "multilabel", "ordinal", "regression")
    measured = {kind: set(measures_of(kind).overall) for kind in kinds}
    assert (
        set().union(*measured.values()) == {**CLASSIFICATION_METRICS, **REGRESSION_METRICS}.keys()
    )
    assert measured["regression"] == set(REGRESSION_METRICS)
    for name in CLASSIFICATION_METRICS:
        (said,) = re.findall(r"^- Kinds: (.+)\.$", sections[name], re.MULTILINE)
        wanted = [kind for kind in kinds if name in measured[kind]]
        assert said in (", ".join(wanted), "all but regression"), name
        assert said != "all but regression" or wanted == list(kinds[:4])


@pytest.mark.parametrize(
    ("file", "names"),
    [
        ("segmentation", {*SEGMENTATION_METRICS}),
        ("classification", {*CLASSIFICATION_METRICS} | TABLES),
    ],
)
def test_every_tool_with_stored_values_is_named(
    sections: dict[str, str], shared_data, file: str, names: set[str]
) -> None:
    having: dict[str, set[str]] = {}
    for entry in json.loads((shared_data("golden_metrics") / f"{file}.json").read_text()):
        for tool, values in entry["expected"].items():
            for name, value in values.items():
                if value is not None:
                    having.setdefault(name.rpartition(".")[2], set()).add(tool)
    named = 0
    for name in names:
        for tool in having.get(STORED.get(name, name), ()):
            assert TOOLS[tool] in sections[name].partition("Checked:")[2], (name, tool)
            named += 1
    assert named > 20


def test_whole_pixels_are_told_of_pictures(sections: dict[str, str]) -> None:
    """A picture's volume is its pixels / 1000, as the page says."""
    picture = Geometry(shape_zyx=(1, 4, 4), spacing_zyx_mm=(999.0, 1.0, 1.0), num_spatial_dims=2)
    assert picture.voxel_volume_ml == 1 / 1000
    assert "pixels / 1000" in sections["volume_difference_ml"]
