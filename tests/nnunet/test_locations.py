"""Where labels and regions lie."""

import numpy as np

from segduet.core.labels import LabelScheme
from segduet.nnunet.locations import (
    MAX_LOCATIONS,
    locate_regions,
    sample_locations,
    stock_locations,
)

NESTED = LabelScheme.from_dataset_json(
    {"background": 0, "organ": [1, 2], "lesion": 2}, [1, 2], where="test"
)
IGNORING = LabelScheme.from_dataset_json({"background": 0, "a": 1, "ignore": 2}, None, where="test")
LABELS = np.array([[[0, 1, 2], [-1, 2, 0]]], np.int16)


def test_nested_regions_are_counted_once_as_foreground() -> None:
    regions = locate_regions(LABELS, NESTED)
    assert regions.voxels == {"organ": 3, "lesion": 2}
    assert regions.foreground_voxels == 3
    assert regions.locations["organ"].tolist() == [[0, 0, 1], [0, 0, 2], [0, 1, 1]]
    assert regions.locations["lesion"].tolist() == [[0, 0, 2], [0, 1, 1]]


def test_without_a_mask_all_is_empty() -> None:
    regions = locate_regions(None, NESTED)
    assert regions.voxels == {"organ": 0, "lesion": 0}
    assert regions.foreground_voxels == 0
    assert regions.locations["organ"].shape == (0, 3)
    assert all(len(v) == 0 for v in stock_locations(None, NESTED, regions).values())


def test_large_regions_are_sampled_evenly_without_repeats() -> None:
    """F09: about as many from each half; always the same ones."""
    labels = np.ones((1, 200, 200), np.int16)
    found, total = sample_locations(labels, [1])
    assert total == 40_000
    assert found.dtype == np.int32
    assert len(np.unique(found, axis=0)) == len(found) == MAX_LOCATIONS
    assert abs(np.mean(found[:, 1] < 100) - 0.5) < 0.02
    np.testing.assert_array_equal(found, sample_locations(labels, [1])[0])


def test_nnunet_gets_its_keys_with_a_channel_in_front() -> None:
    stock = stock_locations(LABELS, NESTED, locate_regions(LABELS, NESTED))
    assert set(stock) == {(1, 2), 2}
    assert stock[2].tolist() == [[0, 0, 0, 2], [0, 0, 1, 1]]
    assert stock[2].dtype == np.int64


def test_with_an_ignore_label_nnunet_also_gets_what_was_annotated() -> None:
    stock = stock_locations(LABELS, IGNORING, locate_regions(LABELS, IGNORING))
    assert set(stock) == {1, (-1, 0, 1)}
    assert len(stock[(-1, 0, 1)]) == 4
