"""B22: what `sbatch` gets, run here: array scripts themselves, `submit.sh` with stand-ins."""

import os
import signal
import stat
import subprocess
import time
from pathlib import Path

import pytest

from segduet.core.errors import RequestError
from segduet.scale.rendering.slurm import LARGEST_ARRAY, SlurmOptions, render_slurm
from segduet.scale.submission import Submission
from segduet.scale.unit import WorkUnit
from tiny_submissions import calls_noted, tiny_submission

#: In sbatch's place: notes its options, runs every task of the array here, prints a job's number.
_SBATCH = """#!/bin/bash
echo "$*" >> sbatch.txt
file="${@: -1}"
tasks=$(sed -n 's/^#SBATCH --array=0-//p' "$file")
for task in $(seq 0 "$tasks"); do SLURM_ARRAY_TASK_ID=$task bash "$file" || exit 1; done
echo "$((100 + $(wc -l < sbatch.txt)));cluster"
"""
_SCONTROL = """#!/bin/bash
echo "$*" >> "$(dirname "$0")/scontrol.txt"
"""


def _written(submission: Submission, folder: Path, **options: str) -> Path:
    folder.mkdir()
    for name, text in render_slurm(submission, SlurmOptions(**options)).items():
        (folder / name).write_text(text)
        subprocess.run(["bash", "-n", folder / name], check=True, timeout=10)
    return folder


def _with_stand_ins(folder: Path) -> dict[str, str]:
    for name, text in (("sbatch", _SBATCH), ("scontrol", _SCONTROL)):
        (folder / name).write_text(text)
        (folder / name).chmod(stat.S_IRWXU)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}


def _task(script: Path, index: int, env: dict[str, str], restarts: int = 0) -> int:
    slurm = {"ARRAY_TASK_ID": index, "ARRAY_JOB_ID": 7, "RESTART_COUNT": restarts}
    env = {**env, **{f"SLURM_{key}": str(value) for key, value in slurm.items()}}
    return subprocess.run(["bash", script], env=env, check=False, timeout=20).returncode


def test_an_array_asks_for_what_its_units_may_use(tmp_path: Path) -> None:
    folder = _written(tiny_submission(tmp_path), tmp_path / "jobs", partition="gpu", account="lab")
    lines = (folder / "level-0-0.sbatch").read_text().splitlines()
    asked = {line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH")}
    assert asked >= {"--array=0-1", "--cpus-per-task=2", "--mem=7680M", "--gpus-per-task=1"}
    assert asked >= {"--time=90", "--requeue", "--partition=gpu", "--account=lab"}
    assert "gpus" not in (folder / "level-1-0.sbatch").read_text()


def test_each_task_of_an_array_runs_its_unit(tmp_path: Path) -> None:
    submission = tiny_submission(tmp_path)
    script = _written(submission, tmp_path / "jobs") / "level-0-0.sbatch"
    assert _task(script, 1, dict(os.environ)) == 0
    assert calls_noted(tmp_path) == [["run", str(submission.study), "--only", "train-f1"]]


def test_submitting_runs_everything_and_chains_levels(tmp_path: Path) -> None:
    folder = _written(tiny_submission(tmp_path), tmp_path / "jobs")
    env = _with_stand_ins(folder)
    subprocess.run(["bash", folder / "submit.sh"], env=env, check=True, timeout=20)
    assert [call[-1] for call in calls_noted(tmp_path)] == [
        *("train-f0", "train-f1", "predict", "evaluate")
    ]
    assert (folder / "sbatch.txt").read_text().splitlines() == [
        "--parsable level-0-0.sbatch",
        "--parsable --dependency=afterok:101 --kill-on-invalid-dep=yes level-1-0.sbatch",
        "--parsable --dependency=afterok:102 --kill-on-invalid-dep=yes level-2-0.sbatch",
    ]


@pytest.mark.parametrize(
    ("code", "restarts", "requeued"), [(1, 0, True), (137, 1, True), (1, 2, False), (2, 0, False)]
)
def test_a_failure_is_tried_again_and_a_bad_request_is_not(
    tmp_path: Path, code: int, restarts: int, requeued: bool
) -> None:
    submission = tiny_submission(tmp_path)
    folder = _written(submission, tmp_path / "jobs")
    (tmp_path / "train-f0.code").write_text(str(code))
    script = folder / "level-0-0.sbatch"
    assert _task(script, 0, _with_stand_ins(folder), restarts) == code
    noted = folder / "scontrol.txt"
    assert (noted.read_text() if noted.exists() else "") == ("requeue 7_0\n" if requeued else "")


def test_a_unit_whose_time_is_over_is_ended_and_queued_again(tmp_path: Path) -> None:
    slow = tmp_path / "slow.sh"
    slow.write_text(
        f"trap 'touch {tmp_path}/told; exit 1' TERM\ntouch {tmp_path}/up\nsleep 30 & wait"
    )
    submission = tiny_submission(tmp_path, program=("bash", str(slow)))
    folder = _written(submission, tmp_path / "jobs")
    env = {**_with_stand_ins(folder), "SLURM_ARRAY_TASK_ID": "0", "SLURM_ARRAY_JOB_ID": "7"}
    with subprocess.Popen(
        ["bash", folder / "level-0-0.sbatch"], env=env, start_new_session=True
    ) as job:
        try:
            for _ in range(200):
                if (tmp_path / "up").exists():
                    break
                time.sleep(0.02)
            job.send_signal(signal.SIGUSR1)
            assert job.wait(timeout=10) == 1
        finally:
            os.killpg(job.pid, signal.SIGKILL)
    assert (tmp_path / "told").exists()
    assert (folder / "scontrol.txt").read_text() == "requeue 7_0\n"


def test_nothing_in_a_path_is_read_as_a_command(tmp_path: Path) -> None:
    study = Path(
        f"/x/$(touch {tmp_path}/broken) `touch {tmp_path}/broken`'\"; touch {tmp_path}/broken"
    )
    script = _written(tiny_submission(tmp_path, study=study), tmp_path / "jobs")
    assert _task(script / "level-0-0.sbatch", 0, dict(os.environ)) == 0
    assert calls_noted(tmp_path) == [["run", str(study), "--only", "train-f0"]]
    assert not (tmp_path / "broken").exists()


def test_options_that_slurm_could_misread_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="--partition"):
        render_slurm(tiny_submission(tmp_path), SlurmOptions(partition="gpu\n#SBATCH --uid=0"))


def test_more_units_than_an_array_holds_take_several(tmp_path: Path) -> None:
    units = tuple(
        WorkUnit(name=f"u{i}", command=("info",), outputs=(tmp_path / f"u{i}",))
        for i in range(LARGEST_ARRAY + 1)
    )
    files = render_slurm(tiny_submission(tmp_path, units=units), SlurmOptions())
    assert "--array=0-999\n" in files["level-0-0.sbatch"]
    assert "--array=0-0\n" in files["level-0-1.sbatch"]
    assert "  u1000\n" in files["level-0-1.sbatch"]
