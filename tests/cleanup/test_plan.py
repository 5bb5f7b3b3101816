"""F78: cleanup.json, and what is wrong with a bad one."""

import json
import re

import numpy as np
import pytest

from segduet.cleanup.plan import CleanupPlan
from segduet.cleanup.steps import (
    Closing,
    FillHoles,
    KeepInside,
    KeepLargest,
    Opening,
    RemoveSmall,
)
from segduet.core.errors import DataError, RequestError
from segduet.core.geometry import Geometry
from segduet.core.labels import LabelScheme

NESTED = LabelScheme.from_dataset_json(
    {"background": 0, "organ": [1, 2], "lesion": [2], "ignore": 3}, [1, 2], where="test"
)
PLAIN = LabelScheme.from_dataset_json(
    {"background": 0, "organ": 1, "lesion": 2}, None, where="test"
)
STEPS = (
    KeepLargest(regions=("organ", "lesion"), may_empty=True),
    RemoveSmall(regions=("lesion",), min_ml=0.5),
    RemoveSmall(regions=("lesion",), min_mm2=25),
    FillHoles(region="organ"),
    Opening(region="lesion", radius_mm=2),
    Closing(region="lesion", radius_mm=1.5),
    KeepInside(region="lesion", organ="organ", margin_mm=0, remove="voxels"),
)
GEOMETRY = Geometry(shape_zyx=(1, 2, 4), spacing_zyx_mm=(1.0, 1.0, 1.0))


@pytest.mark.parametrize("scheme", [NESTED, PLAIN])
def test_a_plan_is_read_back_as_it_was_written(scheme, tmp_path):
    plan = CleanupPlan.of(scheme, STEPS)
    plan.write(tmp_path / "cleanup.json")
    back = CleanupPlan.read(tmp_path / "cleanup.json")
    assert back == plan
    assert back.scheme("x") == scheme
    back.require_scheme(scheme, where="x", whose="y")


def test_a_plan_takes_its_steps():
    plan = CleanupPlan.of(PLAIN, [KeepLargest(regions=("organ",))])
    label_map = np.array([[[1, 1, 0, 1], [0, 0, 0, 0]]], np.float32)
    done = plan.clean(label_map, GEOMETRY, where="c")
    assert done.label_map.dtype == np.uint8
    assert done.label_map[0, 0].tolist() == [1, 1, 0, 0]
    assert done.num_changed == (1,)


SWAPPED = {"kind": "keep_inside", "region": "organ", "organ": "lesion", "margin_mm": 1}


def write(tmp_path, **changes):
    content = json.loads(CleanupPlan.of(NESTED, STEPS).model_dump_json()) | changes
    path = tmp_path / "cleanup.json"
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": [{"kind": "sharpen", "region": "organ"}]}, r"steps\.0.*sharpen.*'keep_largest'"),
        ({"steps": [{"kind": "fill_holes", "region": "liver"}]}, r"steps\.0.*'liver'.*'organ'"),
        ({"steps": [{"kind": "fill_holes", "region": "background"}]}, r"steps\.0.*'background'"),
        ({"steps": [{"kind": "keep_largest", "regions": []}]}, r"regions.*at least 1"),
        ({"steps": [{"kind": "open", "region": "organ", "radius_mm": 0}]}, r"greater than 0"),
        ({"steps": [{"kind": "open", "region": "organ", "radius": 2}]}, r"radius"),
        ({"steps": [{"kind": "remove_small", "regions": ["organ"]}]}, r"min_ml.*min_mm2"),
        (
            {"steps": [{"kind": "remove_small", "regions": ["organ"], "min_ml": 1, "min_mm2": 1}]},
            r"min_ml.*min_mm2",
        ),
        (
            {
                "steps": [
                    {"kind": "keep_inside", "region": "organ", "organ": "lesion", "margin_mm": 1}
                ]
            },
            r"part of it.*Exchange",
        ),
        ({"labels": {"background": 0, "organ": [1, 2]}}, r"regions_class_order"),
        ({"format": "segduet-cleanup-0"}, r"format"),
        ({"notes": "mine"}, r"notes"),
    ],
)
def test_a_bad_plan_is_refused_in_one_message(changes, message, tmp_path):
    with pytest.raises(DataError, match=rf"(?s)cleanup\.json.*{message}"):
        CleanupPlan.read(write(tmp_path, **changes))


def test_a_plan_for_other_labels_is_refused(tmp_path):
    plan = CleanupPlan.of(NESTED, [])
    with pytest.raises(RequestError, match=r"(?s)cleanup\.json.*'lesion'.*labels of model X"):
        plan.require_scheme(PLAIN, where="cleanup.json", whose="model X")


def test_values_the_labels_do_not_have_are_refused():
    plan = CleanupPlan.of(NESTED, [])
    for value in (3, 7):
        label_map = np.full((1, 2, 4), value, np.uint8)
        with pytest.raises(DataError, match=rf"case c: found the value {value}; .*\[0, 1, 2\]"):
            plan.clean(label_map, GEOMETRY, where="case c")


def test_an_empty_plan_changes_nothing():
    label_map = np.array([[[1, 2, 0, 1], [0, 2, 0, 0]]], np.uint8)
    done = CleanupPlan.of(PLAIN, []).clean(label_map, GEOMETRY, where="c")
    np.testing.assert_array_equal(done.label_map, label_map)


def test_the_plan_in_the_guide_is_one(repository, tmp_path):
    guide = (repository / "docs" / "guide" / "cleanup.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```json\n(.*?)^```$", guide, re.MULTILINE | re.DOTALL)
    path = tmp_path / "cleanup.json"
    path.write_text(example)
    assert [step.kind for step in CleanupPlan.read(path).steps] == ["keep_largest", "keep_inside"]
