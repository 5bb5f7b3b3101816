"""B22: Jobs for Kubernetes; their commands run here, their order kept by `submit.sh`.

`benchmarks/job_file_schemas.py` checks them against Kubernetes' own schema.
"""

import os
import stat
import subprocess
import sys
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml

from segduet.core.errors import RequestError
from segduet.scale.rendering.containers import ContainerOptions, Volume
from segduet.scale.rendering.kubernetes import render_kubernetes
from tiny_submissions import calls_noted, run_words, tiny_submission

_OPTIONS = ContainerOptions(image="lab/segduet:1", volumes=(Volume.parse("studies=/data"),))
#: In kubectl's place: applying a file runs the commands of its Jobs, so they are complete at once.
_KUBECTL = f"""#!{sys.executable}
import subprocess, sys, yaml
from pathlib import Path
folder = Path(sys.argv[0]).parent
verb = next(word for word in sys.argv if word in ("apply", "get"))
jobs = list(yaml.safe_load_all(Path(sys.argv[sys.argv.index("-f") + 1]).read_text()))
with (folder / "kubectl.txt").open("a") as noted:
    noted.write(" ".join(sys.argv[1 : sys.argv.index("-f") + 2]) + "\\n")
for job in jobs:
    container = job["spec"]["template"]["spec"]["containers"][0]
    state = folder / (job["metadata"]["name"] + ".state")
    if verb == "apply" and not state.exists():
        code = subprocess.run(container["command"] + container["args"]).returncode
        state.write_text("Failed" if code else "Complete")
    if verb == "get":
        print(state.read_text())
"""


def _jobs(files: dict[str, str]) -> dict[str, dict[str, Any]]:
    found = [
        job
        for name, text in files.items()
        if name.endswith(".yaml")
        for job in yaml.safe_load_all(text)
    ]
    return {job["metadata"]["labels"]["segduet/unit"]: job for job in found}


def _pod(job: dict[str, Any]) -> dict[str, Any]:
    return job["spec"]["template"]["spec"]


def _submit(files: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    folder.mkdir(exist_ok=True)
    for name, text in {**files, "kubectl": _KUBECTL}.items():
        (folder / name).write_text(text)
    (folder / "kubectl").chmod(stat.S_IRWXU)
    env = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "SEGDUET_POLL_S": "0.01"}
    command = ["bash", folder / "submit.sh"]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=30, check=False)


def test_each_job_runs_its_unit(tmp_path: Path) -> None:
    submission = tiny_submission(tmp_path)
    for unit, job in _jobs(render_kubernetes(submission, _OPTIONS)).items():
        container = _pod(job)["containers"][0]
        assert run_words([*container["command"], *container["args"]]) == unit
    units = [unit.name for unit in submission.units]
    assert calls_noted(tmp_path) == [["run", str(submission.study), "--only", u] for u in units]


def test_a_job_asks_for_what_its_unit_may_use(tmp_path: Path) -> None:
    job = _jobs(render_kubernetes(tiny_submission(tmp_path), _OPTIONS))["train-f1"]
    container = _pod(job)["containers"][0]
    gpu = {"nvidia.com/gpu": 1}
    assert container["resources"] == {
        "requests": {"cpu": "1500m", "memory": "7680Mi", **gpu},
        "limits": {"memory": "7680Mi", **gpu},
    }
    assert _pod(job)["activeDeadlineSeconds"] == 5400
    assert container["image"] == "lab/segduet:1"
    assert container["volumeMounts"] == [{"name": "volume-0", "mountPath": "/data"}]
    assert _pod(job)["volumes"] == [
        {"name": "volume-0", "persistentVolumeClaim": {"claimName": "studies"}}
    ]


def test_a_crash_is_tried_again_and_a_bad_request_is_not(tmp_path: Path) -> None:
    job = _jobs(render_kubernetes(tiny_submission(tmp_path, retries=3), _OPTIONS))["evaluate"]
    assert job["spec"]["backoffLimit"] == 3
    assert _pod(job)["restartPolicy"] == "Never"  # what a pod failure policy needs
    (rule,) = job["spec"]["podFailurePolicy"]["rules"]
    assert rule["action"] == "FailJob"
    assert rule["onExitCodes"]["values"] == [2]
    assert "limits" in _pod(job)["containers"][0]["resources"]


def test_the_script_applies_a_level_when_the_one_before_is_complete(tmp_path: Path) -> None:
    options = ContainerOptions(image="i", namespace="lab")
    files = render_kubernetes(tiny_submission(tmp_path), options)
    assert _submit(files, tmp_path / "jobs").returncode == 0
    noted = (tmp_path / "jobs" / "kubectl.txt").read_text().splitlines()
    place = "--namespace lab"
    assert noted == [f"{place} {v} -f level-{d}.yaml" for d in range(3) for v in ("apply", "get")]
    assert [call[-1] for call in calls_noted(tmp_path)] == [
        *("train-f0", "train-f1", "predict", "evaluate")
    ]


def test_the_script_ends_where_a_job_failed_and_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "predict.code").write_text("1")
    files = render_kubernetes(tiny_submission(tmp_path), _OPTIONS)
    ended = _submit(files, tmp_path / "jobs")
    assert ended.returncode == 1
    assert "a Job of level-1.yaml failed: correct the cause, delete that Job" in ended.stderr
    assert "evaluate" not in [call[-1] for call in calls_noted(tmp_path)]


@pytest.mark.parametrize("text", ["studies", "studies=", "=/data", "a b=/data", "studies=data"])
def test_a_volume_without_claim_or_path_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match="--volume"):
        Volume.parse(text)


@pytest.mark.parametrize("changes", [{"image": "a b"}, {"image": "i", "namespace": "x\ny: z"}])
def test_an_image_or_namespace_that_is_none_is_refused(changes: dict[str, str]) -> None:
    with pytest.raises(RequestError):
        ContainerOptions(**changes)


@pytest.mark.parametrize("study", ["/data/$(HOME)/s.yaml", "/data/{{ x }}.yaml", "/a b/s.yaml"])
def test_a_path_that_the_engine_would_fill_in_is_refused(tmp_path: Path, study: str) -> None:
    submission = tiny_submission(tmp_path, study=PurePosixPath(study))
    with pytest.raises(RequestError, match="path in containers"):
        render_kubernetes(submission, _OPTIONS)
