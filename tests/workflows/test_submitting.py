"""B22, F59: `segduet submit`, as a user meets it."""

import importlib.util
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from segduet.core.files import read_json
from segduet.scale import ray_cluster
from segduet.scale.expansion import expand
from segduet.scale.markers import Ending
from segduet.scale.state import StudyState
from segduet.scale.study import load_study
from tiny_studies import write_study

_IMAGE = ("--image", "lab/segduet:1")
_FILES = {
    ("slurm",): {"submit.sh", "level-0-0.sbatch"},
    ("kubernetes", *_IMAGE): {"submit.sh", "level-0.yaml"},
    ("polyaxon", *_IMAGE): {"study.yaml"},
    ("polyaxon-0.5", *_IMAGE): {
        *("experiment.yaml", "resume.yaml", "tensorboard.yaml", "group-0-0.yaml")
    },
}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Two trainings."""
    return write_study(tmp_path, folds=[0, 1])


def _finish(study: Path, *names: str) -> None:
    """Leaves outputs and markers of units, as `segduet run` would."""
    loaded = load_study(study)
    for unit in expand(loaded):
        if unit.name in names:
            for output in unit.outputs:
                output.parent.mkdir(parents=True, exist_ok=True)
                output.write_text("whole")
            StudyState.of(loaded).markers.write_done(unit, Ending(exit_code=0, seconds=1))


@pytest.mark.parametrize("engine", list(_FILES))
def test_job_files_and_a_manifest_are_written(
    segduet: Callable[..., Any], study: Path, tmp_path: Path, engine: tuple[str, ...]
) -> None:
    name, *options = engine
    out = tmp_path / "jobs"
    ended = segduet("submit", name, study, "--out", out, *options, "--json")
    assert ended.code == 0, ended.err
    assert set(ended.json()["files"]) == _FILES[engine]
    assert {file.name for file in out.iterdir()} == {*_FILES[engine], "manifest.json"}
    manifest = read_json(out / "manifest.json")
    assert manifest["command"] == f"submit {name}"
    assert manifest["outcome"]["num_units"] == 2


def test_a_rendered_array_runs_the_units_of_a_real_study(
    segduet: Callable[..., Any], study: Path, tmp_path: Path
) -> None:
    """A unit that is done ends at once and well; one that cannot be run ends as a bad request."""
    out = tmp_path / "jobs"
    assert segduet("submit", "slurm", study, "--out", out).code == 0
    _finish(study, "train-default-2d-s0-f1")
    (load_study(study).root.preprocessed / "Dataset501_tiny" / "cases.csv").unlink()
    codes = []
    for task in ("1", "0"):
        env = {**os.environ, "SLURM_ARRAY_TASK_ID": task, "OMP_NUM_THREADS": "1"}
        command = ["bash", out / "level-0-0.sbatch"]
        codes.append(subprocess.run(command, env=env, check=False, timeout=60).returncode)
    assert codes == [0, 2]


def test_what_is_done_is_not_submitted_again(
    segduet: Callable[..., Any], study: Path, tmp_path: Path
) -> None:
    _finish(study, "train-default-2d-s0-f0")
    out = tmp_path / "jobs"
    segduet("submit", "kubernetes", study, "--out", out, *_IMAGE)
    (job,) = yaml.safe_load_all((out / "level-0.yaml").read_text())
    assert job["metadata"]["name"] == "tiny-train-default-2d-s0-f1"
    _finish(study, "train-default-2d-s0-f1")
    ended = segduet("submit", "slurm", study, "--out", tmp_path / "none")
    assert ended.code == 2
    assert "every unit is done" in ended.err
    assert not (tmp_path / "none").exists()


def test_containers_may_see_the_study_elsewhere(
    segduet: Callable[..., Any], study: Path, tmp_path: Path
) -> None:
    out = tmp_path / "jobs"
    place = ("--study-in-container", "/data/STUDY.yaml", "--volume", "studies=/data")
    assert segduet("submit", "kubernetes", study, "--out", out, *_IMAGE, *place).code == 0
    job = next(yaml.safe_load_all((out / "level-0.yaml").read_text()))
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["run", "/data/STUDY.yaml", "--only", "train-default-2d-s0-f0"]
    assert container["volumeMounts"][0]["mountPath"] == "/data"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("slurm", "--jobs", "2"), "--jobs without --local"),
        (("slurm", "--local", "--retries", "1"), "--retries with --local"),
        (("slurm", "--partition", "a b"), "--partition"),
        (("kubernetes", "--image", "a b"), "--image"),
        (("polyaxon", *_IMAGE, "--volume", "x"), "--volume"),
    ],
)
def test_options_that_do_nothing_or_harm_are_refused(
    segduet: Callable[..., Any],
    study: Path,
    tmp_path: Path,
    arguments: tuple[str, ...],
    message: str,
) -> None:
    engine, *options = arguments
    ended = segduet("submit", engine, study, "--out", tmp_path / "jobs", *options)
    assert ended.code == 2
    assert message in ended.err
    assert len(ended.err.splitlines()) == 1
    assert not (tmp_path / "jobs").exists()


def test_a_cluster_for_a_search_that_runs_here_is_refused(
    segduet: Callable[..., Any], study: Path
) -> None:
    ended = segduet("tune", study, "--address", "auto")
    assert ended.code == 2
    assert "--address without --ray" in ended.err


@pytest.mark.parametrize(
    ("arguments", "package"),
    [
        (("submit", "ray"), "ray"),
        (("submit", "slurm", "--local", "--out", "jobs"), "submitit"),
        (("tune",), "optuna"),
    ],
)
def test_an_engine_that_is_not_installed_names_the_extra(
    segduet: Callable[..., Any],
    study: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    package: str,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    ended = segduet(*arguments, study)
    assert ended.code == 2
    assert f"package {package}" in ended.err
    assert "pip install 'segduet[scale]'" in ended.err


def test_an_engine_that_nobody_knows_is_refused(segduet: Callable[..., Any], study: Path) -> None:
    ended = segduet("submit", "sun-grid-engine", study)
    assert ended.code == 2
    assert "No such command 'sun-grid-engine'" in ended.err


def test_a_cluster_that_does_not_answer_is_one_message(
    segduet: Callable[..., Any], study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_cluster, "ANSWERS_WITHIN_S", 0.5)
    ended = segduet("submit", "ray", study, "--address", "127.0.0.1:9")
    assert ended.code == 2
    assert ended.err.startswith("error: --address 127.0.0.1:9: found no answer within 0.5 s")
    assert len(ended.err.splitlines()) == 1
    assert not (study.parent / "tiny").exists()
