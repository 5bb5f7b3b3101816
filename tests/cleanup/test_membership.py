"""F78: what a voxel is called once it has left a region, or joined one; worked by hand."""

import pytest

from segduet.cleanup.membership import values_after_joining, values_after_leaving
from segduet.core.labels import LabelScheme


def scheme(labels, order=None):
    return LabelScheme.from_dataset_json(labels, order, where="test")


PLAIN = scheme({"background": 0, "organ": 1, "lesion": 2})
NESTED = scheme({"background": 0, "whole": [1, 2], "lesion": [2]}, [1, 2])
TUMOUR = scheme({"background": 0, "whole": [1, 2, 3], "core": [2, 3], "active": [3]}, [1, 2, 3])
OVERLAP = scheme({"background": 0, "left": [1, 2], "right": [2, 3]}, [1, 3])
HALVES = scheme({"background": 0, "whole": [1, 2], "head": [1], "tail": [2]}, [1, 1, 2])


@pytest.mark.parametrize(
    ("labels", "regions", "expected"),
    [
        (PLAIN, ("lesion",), [0, 1, 0]),
        (PLAIN, ("organ", "lesion"), [0, 0, 0]),
        (NESTED, ("lesion",), [0, 1, 1]),
        (NESTED, ("whole",), [0, 0, 0]),
        (TUMOUR, ("core",), [0, 1, 1, 1]),
        (TUMOUR, ("active",), [0, 1, 2, 2]),
        (OVERLAP, ("left",), [0, 0, 3, 3]),
        # nothing is whole without being head or tail
        (HALVES, ("head",), [0, 0, 2]),
    ],
)
def test_what_leaves_a_region_stays_in_those_around_it(labels, regions, expected):
    assert values_after_leaving(labels, regions)[: len(expected)].tolist() == expected


@pytest.mark.parametrize(
    ("labels", "region", "expected"),
    [
        (PLAIN, "organ", [1, 1, 2]),
        (NESTED, "lesion", [2, 2, 2]),
        (NESTED, "whole", [1, 1, 2]),
        (TUMOUR, "active", [3, 3, 3, 3]),
        (TUMOUR, "core", [2, 2, 2, 3]),
        (OVERLAP, "left", [1, 1, 2, 2]),
    ],
)
def test_what_joins_a_region_joins_those_around_it_and_no_label_is_replaced(
    labels, region, expected
):
    assert values_after_joining(labels, region)[: len(expected)].tolist() == expected
