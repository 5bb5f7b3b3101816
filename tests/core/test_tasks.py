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
        {"name": "subtype", "classes": ["a", "b"], "kind": "ordinal"},
        {"name": "subtype", "classes": ["a", "b"], "weights": [1, 2]},
    ],
)
def test_one_class_equal_classes_no_name_or_unknown_keys_are_refused(content: dict) -> None:
    with pytest.raises(ValidationError):
        TaskSpec.model_validate(content)
