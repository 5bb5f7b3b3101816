import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segduet.metrics.overlap import dsc, f_beta, iou, precision, recall


def masks(reference: list[int], prediction: list[int]) -> tuple[np.ndarray, np.ndarray]:
    return np.array(reference, dtype=bool), np.array(prediction, dtype=bool)


def test_hand_counted_overlap():
    """F81: 2 shared of 3 and 4 voxels: DSC 4/7, IoU 2/5."""
    pair = masks([1, 1, 1, 0, 0, 0], [0, 1, 1, 1, 1, 0])
    assert dsc(*pair).value == pytest.approx(4 / 7, abs=1e-15)
    assert iou(*pair).value == pytest.approx(2 / 5, abs=1e-15)


@pytest.mark.parametrize("metric", [dsc, iou])
def test_both_empty_is_undefined_with_a_reason(metric):
    """F81, F56: neither a perfect nor a zero score for a pair that says nothing."""
    score = metric(*masks([0, 0], [0, 0]))
    assert score.value is None
    assert score.reason == "both masks are empty"


@pytest.mark.parametrize("metric", [dsc, iou])
@pytest.mark.parametrize("pair", [([1, 0], [0, 0]), ([0, 0], [1, 0])])
def test_exactly_one_empty_is_zero(metric, pair):
    assert metric(*masks(*pair)).value == 0.0


def test_counts_do_not_wrap_in_small_integers():
    """A mask of more than 255 voxels: sums must not run in uint8."""
    full = np.ones((10, 10, 10), dtype=bool)
    assert dsc(full, full).value == 1.0


def test_label_maps_are_refused():
    """A label map instead of a mask would count label 2 as foreground of every region."""
    with pytest.raises(AssertionError):
        dsc(np.array([2, 1]), np.array([2, 1]))


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40).filter(
        lambda pairs: any(a or b for a, b in pairs)
    )
)
def test_symmetric_and_tied_to_iou(pairs):
    """DSC = 2 IoU / (1 + IoU), and swapping the masks changes nothing."""
    reference, prediction = (np.array(side) for side in zip(*pairs, strict=True))
    jaccard = iou(reference, prediction).value
    assert dsc(reference, prediction) == dsc(prediction, reference)
    assert dsc(reference, prediction).value == pytest.approx(2 * jaccard / (1 + jaccard))


def test_equal_to_third_party_tools(shared_data):
    """C3.1: MetricsReloaded, MONAI and scipy on 51 mask pairs, 1e-6 where definitions agree."""
    arrays = np.load(shared_data("golden_metrics") / "segmentation.npz")
    entries = json.loads((shared_data("golden_metrics") / "segmentation.json").read_text())
    compared = 0
    for entry in entries:
        maps = arrays[entry["id"] + "_ref"], arrays[entry["id"] + "_pred"]
        for region, labels in entry["regions"].items():
            reference, prediction = (np.isin(m, labels) for m in maps)
            if not (reference.any() or prediction.any()):
                continue  # both empty: the tools disagree among themselves
            prefix = "" if region == "foreground" else region + "."
            for tool, metric, ours in [
                (tool, name, f(reference, prediction).value)
                for tool in ("metrics_reloaded", "monai")
                for name, f in (("dsc", dsc), ("iou", iou))
            ]:
                expected = entry["expected"][tool][prefix + metric]
                assert ours == pytest.approx(expected, abs=1e-6), (entry["id"], tool, metric)
                compared += 1
    assert compared > 200


def test_hand_counted_shares_and_their_weighted_mean():
    """2 shared of 3 and 4 voxels: precision 2/4, recall 2/3, F3 = 10 * 2 / (9 * 3 + 4)."""
    pair = masks([1, 1, 1, 0, 0, 0], [0, 1, 1, 1, 1, 0])
    assert precision(*pair).value == 1 / 2
    assert recall(*pair).value == 2 / 3
    assert f_beta(*pair, beta=3).value == pytest.approx(20 / 31, abs=1e-15)
    assert f_beta(*pair, beta=2).value == pytest.approx(10 / 16, abs=1e-15)
    assert f_beta(*pair, beta=1) == dsc(*pair)


def test_why_there_is_no_precision_or_recall():
    """Nothing was claimed; there was nothing to find; neither of them."""
    assert precision(*masks([1, 0], [0, 0])).reason == "the predicted mask is empty"
    assert recall(*masks([0, 0], [1, 0])).reason == "the reference mask is empty"
    for metric in (precision, recall):
        assert metric(*masks([0, 0], [0, 0])).reason == "both masks are empty"
    assert precision(*masks([0, 0], [1, 0])).value == 0.0
    assert recall(*masks([1, 0], [0, 0])).value == 0.0
