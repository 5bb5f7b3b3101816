"""B16, B20: calibration.json is read strictly and belongs to one model."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segduet.core.errors import DataError, RequestError
from segduet.core.files import read_json, write_json
from segduet.core.tasks import TaskScale, TaskSpec
from segduet.evaluation.calibration_file import (
    AnswerSettings,
    Calibration,
    ClassSets,
    TaskCalibration,
)

TASK = TaskSpec(name="cancer", classes=("no", "yes"))
HASH = "ab" * 32


def calibration() -> Calibration:
    sets = ClassSets(
        alpha=0.1, least_probability={"no": 0.25, "yes": None}, always_because={"yes": "too few"}
    )
    return Calibration(
        dataset="Dataset501_tiny",
        weights_sha256={"fold_0/model.safetensors": HASH},
        answered=AnswerSettings(mirrored=True, step=0.5, aggregation="case"),
        tasks=(TaskCalibration(task=TASK, temperatures=(1.75,), sets=(sets,)),),
    )


def test_a_file_reads_back_to_the_same(tmp_path: Path) -> None:
    calibration().write(tmp_path / "c.json")
    assert Calibration.read(tmp_path / "c.json") == calibration()
    own = calibration().of_task("cancer")
    assert own is not None
    np.testing.assert_array_equal(own.temperature_array, [1.75])
    assert calibration().of_task("other") is None


def changed(content: Any, path: str, value: object) -> None:
    *parents, last = path.split("/")
    for key in parents:
        content = content[int(key) if key.isdigit() else key]
    content[last] = value


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("surprise", 1, "surprise"),
        ("format", "segduet-calibration-2", "segduet-calibration-1"),
        ("weights_sha256", {}, "weights_sha256"),
        ("weights_sha256", {"fold_0": "x"}, "weights_sha256.fold_0"),
        ("answered/step", 0, "answered.step"),
        ("answered", {"mirrored": True}, "answered.step"),
        ("tasks", [], "tasks"),
        ("tasks/0/bias", 0.1, "tasks.0.bias"),
        ("tasks/0/temperatures", [0.0], "temperatures"),
        ("tasks/0/temperatures", [1.0, 1.0], "expected 1 temperatures"),
        ("tasks/0/sets", [], "sets belong to classes"),
        ("tasks/0/sets/0/alpha", 1.0, "alpha"),
        ("tasks/0/sets/0/least_probability", {"yes": None}, "threshold for each of"),
        ("tasks/0/sets/0/always_because", {}, "always_because should name"),
        ("tasks/0/least_confidence", 2, "least_confidence"),
        (
            "tasks/0/consistency",
            {"region": None, "classes": [{"answer": "x", "region": "never", "num_patients": 9}]},
            "which are no classes",
        ),
        ("tasks/0/task/kind", "regression", "tasks.0"),
    ],
)
def test_a_damaged_file_is_refused_by_entry(
    tmp_path: Path, path: str, value: object, message: str
) -> None:
    calibration().write(tmp_path / "c.json")
    content = read_json(tmp_path / "c.json")
    changed(content, path, value)
    write_json(tmp_path / "c.json", content)
    with pytest.raises(DataError, match=message):
        Calibration.read(tmp_path / "c.json")


def test_levels_do_not_repeat() -> None:
    own = calibration().tasks[0]
    with pytest.raises(ValueError, match=r"levels \[0.1, 0.1\] repeat"):
        TaskCalibration(task=TASK, temperatures=(1.0,), sets=(*own.sets, *own.sets))


def test_it_fits_its_own_model_and_some_of_its_folds() -> None:
    """A regression beside the task has no part in it, and keeps its scale."""
    size = TaskSpec(name="size", kind="regression", scale=TaskScale(mean=1.0, sd=2.0))
    calibration().require_model((TASK, size), {"fold_0": HASH}, where="c.json", whose="m")


@pytest.mark.parametrize(
    ("tasks", "weights", "message"),
    [
        ((), {"fold_0": HASH}, "'cancer'"),
        ((TASK.model_copy(update={"classes": ("yes", "no")}),), {"fold_0": HASH}, "'cancer'"),
        ((TASK.model_copy(update={"evidence_region": "lesion"}),), {"fold_0": HASH}, "'cancer'"),
        ((TASK,), {"fold_0": "cd" * 32}, r"other weights than \['fold_0'\]"),
        ((TASK,), {"fold_0": HASH, "fold_1": "cd" * 32}, r"other weights than \['fold_1'\]"),
    ],
)
def test_another_model_is_refused(
    tasks: tuple[TaskSpec, ...], weights: dict[str, str], message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        calibration().require_model(tasks, weights, where="c.json", whose="m")
