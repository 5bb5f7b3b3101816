import json

import pytest

from segduet.core.errors import DataError
from segduet.evaluation.targets import TRACKS, Target, judge_targets, read_targets

SUMMARY = {
    "segmentation": {
        "whole_pancreas": {"dsc": {"mean": 0.9159, "ci95": [0.898, 0.930], "n": 36}},
        "pancreas_lesion": {"dsc": {"mean": 0.5739, "ci95": [0.46, 0.68], "n": 36}},
    },
    "classification": {
        "subtype": {
            "macro_f1": {"value": 0.65, "ci95": [0.5, 0.8], "n": 36},
            "auroc": {"value": None, "ci95": None, "n": 36, "reason": "class 'c' is absent"},
        }
    },
}


def test_master_track_on_published_numbers():
    """F84: values, gap in metric units, and whether the interval settles it."""
    whole, lesion, f1, speed = judge_targets(TRACKS["master"], SUMMARY)
    assert (whole["status"], whole["is_settled"]) == ("PASS", False)
    assert whole["gap"] == pytest.approx(0.0059)
    assert (lesion["status"], lesion["is_settled"]) == ("PASS", True)
    assert (f1["status"], f1["gap"]) == ("FAIL", pytest.approx(-0.05))
    assert (speed["status"], speed["value"], speed["gap"]) == ("NOT MEASURED", None, None)


def test_tracks_hold_the_published_thresholds():
    """seeds.md 0.1."""
    thresholds = {name: [t.threshold for t in targets] for name, targets in TRACKS.items()}
    assert thresholds["undergraduate"] == [0.90, 0.27, 0.60]
    assert thresholds["master"] == [0.91, 0.31, 0.70, 10.0]


def test_not_measured_is_not_failed_and_says_why():
    """F56: an undefined figure and an absent one each give their own reason."""
    rows = judge_targets(
        [
            Target(name="auc", metric="classification/subtype/auroc", threshold=0.8),
            Target(name="grade", metric="classification/grade/macro_f1", threshold=0.8),
        ],
        SUMMARY,
    )
    assert [r["status"] for r in rows] == ["NOT MEASURED", "NOT MEASURED"]
    assert rows[0]["reason"] == "class 'c' is absent"
    assert "nothing named 'grade' was measured" in rows[1]["reason"]


@pytest.mark.parametrize(("value", "status"), [(0.1, "PASS"), (0.2, "PASS"), (0.3, "FAIL")])
def test_at_most(value, status):
    target = Target(name="ece", metric="a/ece", threshold=0.2, direction="at_most")
    (row,) = judge_targets([target], {"a": {"ece": {"value": value}}})
    assert (row["status"], row["gap"]) == (status, pytest.approx(value - 0.2))


@pytest.mark.parametrize("write", [json.dumps, lambda content: "# mine\n" + json.dumps(content)])
def test_files_in_json_and_yaml(tmp_path, write):
    source = tmp_path / "targets.yaml"
    entry = {"name": "Lesion", "metric": "segmentation/lesion/dsc", "threshold": 0.5}
    source.write_text(write({"targets": [entry]}))
    assert read_targets(source) == (Target(**entry),)


@pytest.mark.parametrize(
    "text",
    [
        "targets: []",
        "targets: [{name: x, metric: a/b, threshold: .nan}]",
        "targets: [{name: x, metric: nopath, threshold: 1}]",
        "targets: [{name: x, metric: a/b, threshold: 1, treshold: 2}]",
        "goals: []",
        "targets: [",
        "!!python/object:os.system {}",
    ],
)
def test_wrong_files_are_named(tmp_path, text):
    source = tmp_path / "targets.yaml"
    source.write_text(text)
    with pytest.raises(DataError, match=r"targets\.yaml"):
        read_targets(source)


def test_built_in_track_by_name_and_unknown_name():
    assert read_targets("undergraduate") is TRACKS["undergraduate"]
    with pytest.raises(DataError, match="phd"):
        read_targets("phd")
