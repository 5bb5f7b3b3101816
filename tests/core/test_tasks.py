import pytest
from pydantic import ValidationError

from segduet.core.errors import DataError
from segduet.core.tasks import TaskSpec


def test_the_index_of_a_class_is_its_place_in_the_declaration() -> None:
    task = TaskSpec(name="subtype", classes=("b", "a", "c"))
    assert [task.index(name, where="here") for name in ("a", "b", "c")] == [1, 0, 2]


@pytest.mark.parametrize("label", ["d", "", "A", "0"])
def test_an_unknown_class_is_an_error_and_never_class_0(label: str) -> None:
    """B01, F80."""
    with pytest.raises(DataError, match=r"^case 7: found class .* expected one of"):
        TaskSpec(name="subtype", classes=("a", "b")).index(label, where="case 7")


@pytest.mark.parametrize(
    "content",
    [
        {"name": "subtype", "classes": ["a"]},
        {"name": "subtype", "classes": ["a", "a"]},
        {"name": "", "classes": ["a", "b"]},
        {"name": "subtype", "classes": ["a", "b"], "kind": "ranking"},
        {"name": "subtype"},
        {"name": "cancer", "kind": "binary", "classes": ["no", "yes", "perhaps"]},
        {"name": "grade", "kind": "ordinal", "classes": ["low"]},
        {"name": "findings", "kind": "multilabel", "classes": ["cyst", "none"]},
        {"name": "findings", "kind": "multilabel", "classes": ["cyst", "a|b"]},
        {"name": "size", "kind": "regression", "classes": ["a", "b"]},
        {"name": "size", "kind": "regression", "unit": ""},
        {"name": "size", "kind": "regression", "scale": {"mean": 1.0, "sd": 0.0}},
        {"name": "size", "kind": "regression", "scale": {"mean": float("nan"), "sd": 1.0}},
        {"name": "subtype", "classes": ["a", "b"], "unit": "mm"},
        {"name": "subtype", "classes": ["a", "b"], "scale": {"mean": 0.0, "sd": 1.0}},
        {"name": "subtype", "classes": ["a", "b"], "weights": [1, 2]},
    ],
)
def test_a_task_that_contradicts_its_kind_is_refused(content: dict) -> None:
    with pytest.raises(ValidationError):
        TaskSpec.model_validate(content)


@pytest.mark.parametrize(
    ("kind", "classes", "outputs", "answers", "targets"),
    [
        ("multiclass", ("a", "b", "c"), 3, 3, 1),
        ("binary", ("no", "yes"), 1, 2, 1),
        ("multilabel", ("a", "b", "c"), 3, 3, 3),
        ("ordinal", ("low", "mid", "high"), 2, 3, 1),
        ("regression", (), 1, 1, 1),
    ],
)
def test_every_kind_has_its_own_head_width(kind, classes, outputs, answers, targets) -> None:
    """B02."""
    task = TaskSpec(name="t", kind=kind, classes=classes)
    assert (task.num_outputs, task.answer_size, task.num_targets) == (outputs, answers, targets)


def test_a_task_survives_its_files() -> None:
    """The scale travels with the task, so a model answers in the task's unit."""
    task = TaskSpec(name="ef", kind="regression", unit="%", scale={"mean": 55.5, "sd": 7.25})
    assert TaskSpec.model_validate(task.model_dump(mode="json")) == task


def test_a_table_cell_names_classes_or_findings() -> None:
    findings = TaskSpec(name="f", kind="multilabel", classes=("cyst", "mass"))
    assert findings.named("cyst | mass") == ("cyst", "mass")
    assert findings.named("none") == ()
    assert TaskSpec(name="c", classes=("none", "a|b")).named("a|b") == ("a|b",)
    assert TaskSpec(name="ef", kind="regression").named("3.5") == ()
