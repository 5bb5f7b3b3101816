import numpy as np
import pytest

from segduet.core.geometry import Geometry
from segduet.core.prediction import Prediction
from segduet.core.tasks import TaskSpec

TASK = TaskSpec(name="subtype", classes=("a", "b", "c"))


@pytest.mark.parametrize(
    ("probabilities", "label"),
    [((0.2, 0.1, 0.7), "c"), ((0.1, 0.8, 0.1), "b"), ((0.4, 0.2, 0.4), "a")],
)
def test_the_label_is_the_most_probable_class_and_the_first_of_equals(
    probabilities: tuple[float, ...], label: str
) -> None:
    prediction = Prediction(
        case="a",
        label_map=np.zeros((1, 2, 2), np.uint8),
        geometry=Geometry(shape_zyx=(1, 2, 2), spacing_zyx_mm=(1.0, 1.0, 1.0)),
        probabilities={"subtype": np.array(probabilities)},
    )
    assert prediction.label(TASK) == label


def test_asking_for_a_task_that_was_not_answered_is_an_error() -> None:
    """F80: never class 0 for an answer that is not there."""
    prediction = Prediction(
        case="a",
        label_map=np.zeros((1, 2, 2), np.uint8),
        geometry=Geometry(shape_zyx=(1, 2, 2), spacing_zyx_mm=(1.0, 1.0, 1.0)),
    )
    with pytest.raises(KeyError, match="subtype"):
        prediction.label(TASK)
