import numpy as np
import pytest

from segduet.core.cases import CaseRecord
from segduet.core.errors import DataError
from segduet.core.geometry import Geometry
from segduet.core.labels import LabelScheme
from segduet.core.tasks import TaskSpec
from segduet.core.volume import Volume
from segduet.evaluation.scoring import class_answer, score_case, scored_regions
from segduet.metrics.declared import SEGMENTATION_METRICS

QUIZ = LabelScheme(
    labels=(("background", (0,)), ("whole", (1, 2)), ("lesion", (2,))), regions_class_order=(1, 2)
)
WITH_IGNORE = LabelScheme(labels=(("background", (0,)), ("organ", (1,)), ("ignore", (2,))))
RECORD = CaseRecord(case="c1", patient="p1", labels={"subtype": "b"})
TASK = TaskSpec(name="subtype", classes=("a", "b", "c"))


def volume(values: list[int], spacing=(2.0, 1.0, 1.0), dtype=np.uint8) -> Volume:
    array = np.array(values, dtype=dtype).reshape(1, 1, 1, -1)
    return Volume(array=array, geometry=Geometry(shape_zyx=array.shape[1:], spacing_zyx_mm=spacing))


def test_whole_lesion_and_normal_by_hand():
    """F81: whole 5 of 5 and 4 voxels; lesion 1 shared of 2 and 2; normal 2 shared of 3 and 2."""
    scores = score_case(
        RECORD, volume([1, 1, 1, 2, 2, 0]), volume([1, 1, 2, 2, 0, 0]), labels=QUIZ, answers={}
    )
    dsc = {region: metrics["dsc"].value for region, metrics in scores.segmentation.items()}
    assert dsc == pytest.approx({"whole": 8 / 9, "lesion": 2 / 4, "whole_only": 4 / 5})
    assert scores.volumes_ml["whole"] == pytest.approx((0.010, 0.008))
    assert scores.segmentation["whole"]["volume_difference_ml"].value == pytest.approx(-0.002)
    assert (scores.case, scores.patient) == ("c1", "p1")


def test_plain_labels_have_no_derived_regions():
    assert scored_regions(WITH_IGNORE) == {"organ": (1,)}


def test_ignored_voxels_count_for_neither_side():
    scores = score_case(
        RECORD, volume([1, 1, 2, 2]), volume([1, 0, 1, 1]), labels=WITH_IGNORE, answers={}
    )
    assert scores.segmentation["organ"]["dsc"].value == pytest.approx(2 / 3)
    assert scores.volumes_ml["organ"] == pytest.approx((0.004, 0.002))


def test_absent_region_is_undefined_not_perfect():
    """F81: empty in both masks must not raise the mean (S2/S3 gave it 1)."""
    scores = score_case(RECORD, volume([1, 0]), volume([1, 1]), labels=QUIZ, answers={})
    assert scores.segmentation["lesion"]["dsc"].reason == "both masks are empty"


@pytest.mark.parametrize(
    ("prediction", "differing"),
    [
        (volume([1, 0, 0]), "shape"),
        (volume([1, 0], spacing=(2.0, 1.0, 1.5)), "spacing"),
    ],
)
def test_prediction_on_another_grid_is_an_error(prediction, differing):
    with pytest.raises(DataError, match=f"'c1'.*{differing}"):
        score_case(RECORD, volume([1, 0]), prediction, labels=QUIZ, answers={})


def test_undeclared_label_value_is_an_error():
    with pytest.raises(DataError, match=r"'c1', predicted mask.*\[7\]"):
        score_case(RECORD, volume([1, 0]), volume([1, 7]), labels=QUIZ, answers={})


def test_unrepaired_float_label_is_an_error():
    """seeds.md 0.2: 1.0000153 is not label 1; it would silently score as background."""
    broken = volume([1.0000152587890625, 0], dtype=np.float32)
    with pytest.raises(DataError, match="reference mask"):
        score_case(RECORD, broken, volume([1, 0]), labels=QUIZ, answers={})


def test_answer_holds_reference_and_choice():
    answer = class_answer(RECORD, TASK, np.array([0.2, 0.2, 0.6]))
    assert (answer.reference, answer.predicted) == ("b", "c")
    assert answer.probabilities == (0.2, 0.2, 0.6)
    unknown = class_answer(CaseRecord(case="c2", patient="c2"), TASK, np.array([0.4, 0.4, 0.2]))
    assert (unknown.reference, unknown.predicted) == (None, "a")


@pytest.mark.parametrize("bad", [[0.5, 0.5], [0.5, 0.6, 0.2], [np.nan, 0.5, 0.5], [-0.1, 0.6, 0.5]])
def test_what_is_no_probability_vector_is_an_error(bad):
    with pytest.raises(DataError, match="'c1', task 'subtype'"):
        class_answer(RECORD, TASK, np.array(bad))


@pytest.mark.parametrize(
    ("task", "answer", "predicted"),
    [
        (TaskSpec(name="f", kind="multilabel", classes=("a", "b")), [0.9, 0.8], "a|b"),
        (TaskSpec(name="f", kind="ordinal", classes=("a", "b", "c")), [0.4, 0.25, 0.35], "b"),
        (TaskSpec(name="f", kind="regression", unit="mm"), [-3.5], "-3.5"),
    ],
)
def test_every_kind_is_decided_in_its_own_way(task, answer, predicted):
    """B02."""
    scored = class_answer(CaseRecord(case="c", patient="c"), task, np.array(answer))
    assert (scored.predicted, scored.kind, scored.unit) == (predicted, task.kind, task.unit or "")


@pytest.mark.parametrize(
    ("kind", "classes", "answer"),
    [
        ("multilabel", ("a", "b"), [0.9, 1.1]),
        ("multilabel", ("a", "b"), [0.9]),
        ("regression", (), [np.nan]),
        ("regression", (), [1.0, 2.0]),
        ("binary", ("a", "b"), [0.9, 0.8]),
    ],
)
def test_what_is_no_answer_of_its_kind_is_an_error(kind, classes, answer):
    task = TaskSpec(name="f", kind=kind, classes=classes)
    with pytest.raises(DataError, match="case 'c', task 'f': found the answer"):
        class_answer(CaseRecord(case="c", patient="c"), task, np.array(answer))


def test_surfaces_are_measured_where_asked_for_in_the_plane_of_a_single_slice():
    """F82: one voxel against it and the next but one, 2 pixels of 1.5 mm on; 999 mm slices."""
    reference, prediction = ([1, 0, 0, 0], [1, 0, 1, 0])
    pair = [volume(v, spacing=(999.0, 1.0, 1.5)) for v in (reference, prediction)]
    labels = LabelScheme(labels=(("background", (0,)), ("organ", (1,))))
    off = score_case(RECORD, *pair, labels=labels, answers={}).segmentation["organ"]
    assert not {"nsd", "hd95_mm", "assd_mm"} & set(off)
    assert (off["precision"].value, off["recall"].value) == (0.5, 1.0)
    assert off["f2"].value == pytest.approx(5 / 6)
    on = score_case(RECORD, *pair, labels=labels, answers={}, nsd_tolerance_mm=2.0)
    scores = {name: score.value for name, score in on.segmentation["organ"].items()}
    assert scores["nsd"] == pytest.approx(2 / 3)
    assert scores["hd95_mm"] == pytest.approx(2.85)
    assert scores["assd_mm"] == pytest.approx(1.0)


def test_lesions_are_counted_where_surfaces_are_measured():
    """F82: of two lesions one is hit by a voxel; of three predicted components two hit nothing."""
    reference, prediction = [1, 1, 0, 0, 1, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0, 1, 0, 1]
    labels = LabelScheme(labels=(("background", (0,)), ("cyst", (1,))))
    pair = volume(reference), volume(prediction)
    scores = score_case(RECORD, *pair, labels=labels, answers={}, nsd_tolerance_mm=1.0)
    cyst = {name: score.value for name, score in scores.segmentation["cyst"].items()}
    assert cyst["lesion_recall"] == pytest.approx(1 / 2)
    assert cyst["lesion_precision"] == pytest.approx(1 / 3)
    assert cyst["lesion_f1"] == pytest.approx(2 / 5)
    assert set(cyst) == set(SEGMENTATION_METRICS)
    off = score_case(RECORD, *pair, labels=labels, answers={}).segmentation["cyst"]
    assert not {name for name in off if name.startswith("lesion")}


@pytest.mark.parametrize("num_dims", [2, 3])
def test_a_region_nobody_drew_is_undefined_in_every_metric_but_the_volume(num_dims):
    """F56: with the box of both masks empty as well."""
    grid = Geometry(shape_zyx=(1, 2, 3), spacing_zyx_mm=(999, 1, 1), num_spatial_dims=num_dims)
    empty = Volume(array=np.zeros((1, 1, 2, 3), dtype=np.uint8), geometry=grid)
    labels = LabelScheme(labels=(("background", (0,)), ("cyst", (1,))))
    scores = score_case(RECORD, empty, empty, labels=labels, answers={}, nsd_tolerance_mm=1.0)
    cyst = scores.segmentation["cyst"]
    assert cyst.pop("volume_difference_ml").value == 0.0
    assert all(score.value is None and score.reason for score in cyst.values())
    assert scores.volumes_ml["cyst"] == (0.0, 0.0)


def test_surfaces_run_along_the_edge_of_what_nobody_annotated():
    """A prediction that goes on into ignored voxels ends where the reference ends."""
    pair = volume([1, 1, 2, 2, 2]), volume([1, 1, 1, 1, 1])
    scores = score_case(RECORD, *pair, labels=WITH_IGNORE, answers={}, nsd_tolerance_mm=0.0)
    organ = scores.segmentation["organ"]
    assert (organ["hd95_mm"].value, organ["nsd"].value) == (0.0, 1.0)


def test_a_label_map_scaled_by_its_header_is_scored_alike():
    """Values in float32, as `read_label_map` gives them there."""
    labels = LabelScheme(labels=(("background", (0,)), ("cyst", (1,))))
    pair = volume([1, 1, 0], dtype=np.float32), volume([1, 0, 0])
    scores = score_case(RECORD, *pair, labels=labels, answers={})
    assert scores.segmentation["cyst"]["dsc"].value == pytest.approx(2 / 3)
