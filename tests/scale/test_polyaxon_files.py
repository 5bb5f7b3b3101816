"""F59: Polyaxon's current schema and that of 2019; the commands in them run here.

`benchmarks/job_file_schemas.py` checks both with Polyaxon's own readers.
"""

import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from segduet.core.errors import RequestError
from segduet.scale.rendering.containers import ContainerOptions, Volume
from segduet.scale.rendering.polyaxon import render_polyaxon
from segduet.scale.rendering.polyaxon05 import render_polyaxon05
from segduet.scale.submission import Submission
from segduet.scale.unit import Resources, WorkUnit
from tiny_submissions import calls_noted, run_words, tiny_submission

_OPTIONS = ContainerOptions(image="lab/segduet:1", volumes=(Volume.parse("studies=/data"),))


def _current(submission: Submission) -> dict[str, dict[str, Any]]:
    (text,) = render_polyaxon(submission, _OPTIONS).values()
    return {o["name"]: o for o in yaml.safe_load(text)["component"]["run"]["operations"]}


def _old(submission: Submission) -> dict[str, dict[str, Any]]:
    files = render_polyaxon05(submission, _OPTIONS, concurrency=3)
    return {name: yaml.safe_load(text) for name, text in files.items()}


def test_the_graph_has_the_needs_and_commands_of_the_units(tmp_path: Path) -> None:
    submission = tiny_submission(tmp_path)
    operations = _current(submission)
    for unit in submission.units:
        operation = operations[unit.name]
        assert operation.get("dependencies", []) == list(unit.needs)
        container = operation["component"]["run"]["container"]
        assert run_words([*container["command"], *container["args"]]) == unit.name
    assert len(calls_noted(tmp_path)) == len(operations) == 4


def test_a_unit_is_ended_in_time_and_tried_again(tmp_path: Path) -> None:
    operation = _current(tiny_submission(tmp_path, retries=4))["train-f0"]
    assert operation["termination"] == {"maxRetries": 4, "timeout": 5400}
    container = operation["component"]["run"]["container"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1


def test_a_need_that_is_complete_is_no_dependency(tmp_path: Path) -> None:
    units = tuple(u for u in tiny_submission(tmp_path).units if not u.name.startswith("train"))
    assert "dependencies" not in _current(tiny_submission(tmp_path, units=units))["predict"]


def test_groups_of_2019_enumerate_the_units_level_by_level(tmp_path: Path) -> None:
    submission = tiny_submission(tmp_path)
    files = _old(submission)
    groups = {name: content for name, content in files.items() if content["kind"] == "group"}
    matrices = {name: g["hptuning"]["matrix"]["unit"]["values"] for name, g in groups.items()}
    assert matrices == {
        "group-0-0.yaml": ["train-f0", "train-f1"],
        "group-1-0.yaml": ["predict"],
        "group-2-0.yaml": ["evaluate"],
    }
    for name, group in groups.items():
        assert group["hptuning"]["concurrency"] == 3
        for unit in matrices[name]:
            command = group["run"]["cmd"].replace("{{ unit }}", unit)
            assert run_words(shlex.split(command)) == unit
    assert [call[-1] for call in calls_noted(tmp_path)] == [u.name for u in submission.units]


def test_an_experiment_of_2019_and_its_resuming_run_the_same_command(tmp_path: Path) -> None:
    files = _old(tiny_submission(tmp_path))
    experiment, resume = files["experiment.yaml"], files["resume.yaml"]
    command = experiment["run"]["cmd"].replace("{{ unit }}", experiment["params"]["unit"])
    assert command == resume["run"]["cmd"]
    assert run_words(shlex.split(command)) == "train-f0"
    assert experiment["environment"]["resources"] == {
        "cpu": {"requests": 1.5, "limits": 1.5},
        "memory": {"requests": 7680, "limits": 7680},
        "gpu": {"requests": 1, "limits": 1},
    }


def test_tensorboard_of_2019_has_the_image(tmp_path: Path) -> None:
    assert _old(tiny_submission(tmp_path))["tensorboard.yaml"] == {
        "version": 1,
        "kind": "tensorboard",
        "build": {"image": "lab/segduet:1"},
    }


@pytest.mark.parametrize("old", [True, False])
def test_part_of_a_gpu_is_refused(tmp_path: Path, old: bool) -> None:
    unit = WorkUnit(
        name="a", command=("info",), outputs=(tmp_path,), resources=Resources(gpus=0.25)
    )
    submission = tiny_submission(tmp_path, units=(unit,))
    with pytest.raises(RequestError, match=r"0\.25 of a GPU"):
        (_old if old else _current)(submission)


def test_a_path_that_polyaxon_would_fill_in_is_refused(tmp_path: Path) -> None:
    submission = tiny_submission(tmp_path, study=Path("/data/{{ globals.name }}.yaml"))
    for render in (_current, _old):
        with pytest.raises(RequestError, match="path in containers"):
            render(submission)
