"""B16: rules between class and mask are learned from cases without an exception."""

import numpy as np
import pytest

from segduet.core.labels import LabelScheme
from segduet.core.tasks import TaskSpec
from segduet.evaluation.consistency import ClassRule, ConsistencyRules, has_region, learn_rules

TASK = TaskSpec(name="class", classes=("normal", "benign", "malignant"), evidence_region="lesion")
LABELS = LabelScheme.from_dataset_json(
    {"background": 0, "breast": [1, 2], "lesion": [2]}, [1, 2], where="test"
)


def seen(has_region: bool, num_patients: int) -> list[tuple[str, bool]]:
    """One case of each patient."""
    return [(f"p{i}", has_region) for i in range(num_patients)]


def test_classes_that_never_and_always_have_the_region_get_a_rule() -> None:
    """As in BUSI: normal images have no lesion, the others do."""
    rules = learn_rules(
        TASK, {"normal": seen(False, 10), "benign": seen(True, 12), "malignant": seen(True, 9)}
    )
    assert rules == ConsistencyRules(
        region="lesion",
        classes=(
            ClassRule(answer="normal", region="never", num_patients=10),
            ClassRule(answer="benign", region="always", num_patients=12),
        ),
    )


def test_one_exception_or_too_few_cases_make_no_rule() -> None:
    normal = [*seen(False, 30), ("p31", True)]
    assert learn_rules(TASK, {"normal": normal, "benign": seen(True, 9)}) is None


def test_many_images_of_few_patients_make_no_rule() -> None:
    """B16: as everywhere, the patient is what is counted."""
    images = [(f"p{i % 9}", False) for i in range(90)]
    assert learn_rules(TASK, {"normal": images}) is None
    rules = learn_rules(TASK, {"normal": [*images, ("p9", False)]})
    assert rules is not None
    assert rules.classes[0].num_patients == 10


@pytest.mark.parametrize(
    ("label", "is_there", "said"),
    [
        ("normal", True, "normal with lesion"),
        ("normal", False, ""),
        ("benign", False, "benign without lesion"),
        ("benign", True, ""),
        ("malignant", False, ""),
    ],
)
def test_what_contradicts(label: str, is_there: bool, said: str) -> None:
    rules = learn_rules(TASK, {"normal": seen(False, 10), "benign": seen(True, 10)})
    assert rules is not None
    assert rules.contradiction(label, has_region=is_there) == said
    assert rules.judges(label) == (label != "malignant")


def test_a_single_voxel_of_the_region_counts() -> None:
    label_map = np.zeros((2, 3, 3), np.uint8)
    assert not has_region(label_map, LABELS, None)
    label_map[0, 0, 0] = 1
    assert has_region(label_map, LABELS, None)
    assert not has_region(label_map, LABELS, "lesion")
    label_map[1, 2, 2] = 2
    assert has_region(label_map, LABELS, "lesion")
