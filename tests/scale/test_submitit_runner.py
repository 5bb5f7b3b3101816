"""B22: the units through submitit's local executor, level by level."""

from dataclasses import replace
from pathlib import Path

from segduet.scale.submitit_runner import run_with_submitit
from segduet.scale.unit import Resources
from tiny_submissions import calls_noted, tiny_submission, tiny_units


def test_levels_follow_each_other_until_one_fails(tmp_path: Path) -> None:
    (tmp_path / "predict.code").write_text("1")
    units = tuple(replace(unit, resources=Resources()) for unit in tiny_units(tmp_path))
    submission, ended = tiny_submission(tmp_path, units=units), list[str]()
    run_with_submitit(submission, tmp_path / "jobs", jobs=2, on_ended=ended.append)
    called = [call[-1] for call in calls_noted(tmp_path)]
    assert sorted(called[:2]) == ["train-f0", "train-f1"]
    assert called[2:] == ["predict"]  # `evaluate` needs it
    assert ended == ["train-f0", "train-f1", "predict"]
