"""F81, F82: every declared metric is measured on a cohort and stands in summary.json."""

from typing import Any

import numpy as np
import pytest

from segduet.core.cases import CaseRecord
from segduet.core.geometry import Geometry
from segduet.core.labels import LabelScheme
from segduet.core.tasks import TaskSpec
from segduet.core.volume import Volume
from segduet.evaluation.cohort import summarize
from segduet.evaluation.scoring import class_answer, score_case
from segduet.metrics.declared import (
    CLASSIFICATION_METRICS,
    REGRESSION_METRICS,
    SEGMENTATION_METRICS,
)

GRID = Geometry(shape_zyx=(3, 8, 8), spacing_zyx_mm=(2.0, 1.0, 1.0))
LABELS = LabelScheme(labels=(("background", (0,)), ("lesion", (1,))))
TASKS = (
    TaskSpec(name="cancer", kind="binary", classes=("no", "yes")),
    TaskSpec(name="shape", classes=("flat", "long", "round")),
    TaskSpec(name="signs", kind="multilabel", classes=("cyst", "mass")),
    TaskSpec(name="grade", kind="ordinal", classes=("low", "mid", "high")),
    TaskSpec(name="size", kind="regression", unit="mm"),
)


def mask(width: int) -> Volume:
    array = np.zeros((1, *GRID.shape_zyx), dtype=np.uint8)
    array[0, 1, 1:5, 1 : 1 + width] = 1
    return Volume(array=array, geometry=GRID)


@pytest.fixture(scope="module")
def summary() -> dict[str, Any]:
    """Of six cases; every third class answer is wrong, every mask one column too wide."""
    cases = []
    for i in range(6):
        record = CaseRecord(
            case=f"c{i}",
            patient=f"c{i}",
            labels={
                "cancer": ("no", "yes")[i % 2],
                "shape": ("flat", "long", "round")[i % 3],
                "signs": ("none", "cyst", "mass", "cyst|mass", "mass", "cyst")[i],
                "grade": ("low", "mid", "high")[i % 3],
                "size": str(i),
            },
        )
        of_three = np.full(3, 0.1)
        of_three[(i + (i == 0)) % 3] = 0.8
        numbers = {
            "cancer": np.array([0.7, 0.3] if i in (0, 1, 4) else [0.2, 0.8]),
            "shape": of_three,
            "signs": np.array([0.6, 0.3]),
            "grade": of_three,
            "size": np.array([i + 0.5]),
        }
        answers = {task.name: class_answer(record, task, numbers[task.name]) for task in TASKS}
        width = 2 + i % 3
        pair = mask(width), mask(width + 1)
        cases.append(score_case(record, *pair, labels=LABELS, answers=answers, nsd_tolerance_mm=1))
    return summarize(cases, LABELS, TASKS, seed=0, selected_from=1, nsd_tolerance_mm=1).to_json()


def test_every_metric_of_masks_has_a_mean_and_its_unit(summary: dict[str, Any]) -> None:
    lesion = summary["segmentation"]["lesion"]
    assert set(lesion) == set(SEGMENTATION_METRICS)
    for name, figure in lesion.items():
        assert figure["mean"] is not None, name
        assert figure["unit"] == SEGMENTATION_METRICS[name].unit
    # 4 columns too many of 2 mm3 in every case; all of it lies within 1 mm
    assert lesion["volume_difference_ml"]["mean"] == pytest.approx(4 * 2e-3)
    assert lesion["nsd"]["mean"] == lesion["lesion_f1"]["mean"] == 1.0


def test_every_figure_of_a_task_has_a_value(summary: dict[str, Any]) -> None:
    found: set[str] = set()
    for task in summary["classification"].values():
        figures = {
            name: figure
            for name, figure in task.items()
            if name in CLASSIFICATION_METRICS or name in REGRESSION_METRICS
        }
        assert [name for name, figure in figures.items() if figure["value"] is None] == []
        found |= set(figures)
    assert found == {*CLASSIFICATION_METRICS, *REGRESSION_METRICS}
    assert summary["classification"]["size"]["mae"]["value"] == pytest.approx(0.5)


def test_tables_by_class_stand_beside_them(summary: dict[str, Any]) -> None:
    """Class flat once answered as long; cysts always, masses never said."""
    shape, signs = (summary["classification"][name] for name in ("shape", "signs"))
    assert shape["confusion_matrix"]["counts"] == [[1, 1, 0], [0, 2, 0], [0, 0, 2]]
    f1 = {name: figure["value"] for name, figure in shape["f1_by_class"].items()}
    assert f1 == pytest.approx({"flat": 2 / 3, "long": 4 / 5, "round": 1.0})
    assert signs["f1_by_class"]["mass"]["value"] == 0.0
    assert signs["auroc_by_class"]["cyst"]["value"] == 0.5
