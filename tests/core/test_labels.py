import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from segduet.core.errors import DataError
from segduet.core.labels import LabelScheme

NESTED = LabelScheme.from_dataset_json(
    {"background": 0, "whole": [1, 2], "lesion": 2}, [1, 2], where="here"
)
PLAIN = LabelScheme.from_dataset_json({"background": 0, "rv": 1, "myo": 2}, None, where="here")
SHAPES = hnp.array_shapes(min_dims=1, max_dims=3, max_side=5)
LABEL_MAPS = hnp.arrays(np.uint8, SHAPES, elements=st.integers(0, 2))
LOGITS = hnp.arrays(np.float32, st.just((2, 3, 4)), elements=st.floats(-9, 9, width=32))


def as_logits(encoded: np.ndarray) -> np.ndarray:
    return np.where(encoded, 5.0, -5.0)


@given(LABEL_MAPS)
def test_decoding_encoded_nested_regions_gives_the_label_map_back(label_map: np.ndarray) -> None:
    """F03: encode -> decode of any {0, 1, 2} map is the identity."""
    decoded = NESTED.decode(as_logits(NESTED.encode(label_map)))
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, label_map)


@given(LABEL_MAPS)
def test_decoding_encoded_plain_labels_gives_the_label_map_back(label_map: np.ndarray) -> None:
    np.testing.assert_array_equal(PLAIN.decode(as_logits(PLAIN.encode(label_map))), label_map)


@given(LOGITS)
def test_the_lesion_is_always_inside_the_whole_organ(logits: np.ndarray) -> None:
    """F03: whatever the network says, nesting holds in the label map."""
    label_map = NESTED.decode(logits)
    assert np.all(NESTED.mask(label_map, "whole") >= NESTED.mask(label_map, "lesion"))
    np.testing.assert_array_equal(NESTED.mask(label_map, "lesion"), logits[1] > 0)


def test_regions_are_encoded_without_background_and_overlap() -> None:
    encoded = NESTED.encode(np.array([0, 1, 2]))
    np.testing.assert_array_equal(encoded, [[False, True, True], [False, False, True]])
    assert (NESTED.has_regions, NESTED.num_segmentation_heads) == (True, 2)


def test_plain_labels_are_encoded_with_background_and_exclusive() -> None:
    np.testing.assert_array_equal(PLAIN.encode(np.array([0, 1, 2])), np.eye(3, dtype=bool))
    assert (PLAIN.has_regions, PLAIN.num_segmentation_heads) == (False, 3)


def test_a_logit_of_zero_is_outside_the_region_and_the_lower_label_wins_a_tie() -> None:
    np.testing.assert_array_equal(NESTED.decode(np.zeros((2, 1))), [0])
    np.testing.assert_array_equal(PLAIN.decode(np.array([[1.0], [3.0], [3.0]])), [1])


def test_ignored_voxels_belong_to_no_head_but_are_allowed_values() -> None:
    scheme = LabelScheme.from_dataset_json(
        {"background": 0, "organ": 1, "ignore": 2}, None, where="here"
    )
    assert scheme.ignore_value == 2
    assert scheme.values == (0, 1, 2)
    assert scheme.foreground == {"organ": (1,)}
    np.testing.assert_array_equal(scheme.encode(np.array([2])), [[False], [False]])
    assert NESTED.ignore_value is None


@pytest.mark.parametrize(
    ("labels", "order", "found"),
    [
        ({"whole": [1, 2]}, [1], "labels"),
        ({"background": 1, "organ": 0}, None, "labels"),
        ({"background": 0, "organ": 2}, None, r"label values \[0, 2\]"),
        ({"background": 0, "whole": [1, 2], "lesion": 2}, None, "regions_class_order missing"),
        ({"background": 0, "whole": [1, 2], "lesion": 2}, [1], r"regions_class_order \(1,\)"),
    ],
)
def test_declarations_that_make_no_sense_are_refused(
    labels: dict, order: list[int] | None, found: str
) -> None:
    with pytest.raises(DataError, match=f"^dataset.json: found {found}"):
        LabelScheme.from_dataset_json(labels, order, where="dataset.json")


def test_plain_channels_follow_the_values_as_in_nnunet():
    """B11: declared out of order, channel 1 is still label 1."""
    scheme = LabelScheme.from_dataset_json(
        {"background": 0, "lesion": 2, "organ": 1}, None, where="dataset.json"
    )
    assert list(scheme.foreground) == ["organ", "lesion"]
    logits = np.zeros((3, 1))
    logits[2] = 1.0
    assert scheme.decode(logits).tolist() == [2]
    assert scheme.encode(np.array([2]))[:, 0].tolist() == [False, False, True]


def test_two_names_of_one_value_are_refused():
    with pytest.raises(DataError, match="two are the same"):
        LabelScheme.from_dataset_json({"background": 0, "a": 1, "b": 1}, None, where="d")


def test_a_class_order_with_an_undeclared_value_is_refused():
    with pytest.raises(DataError, match="which is no label"):
        LabelScheme.from_dataset_json(
            {"background": 0, "whole": [1, 2], "inner": 2}, [1, 7], where="d"
        )
