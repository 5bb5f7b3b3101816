"""Issue 6: a cohort by Ray workers, as a user meets it. One cluster of two cores for the file."""

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from segduet.core.files import read_csv, read_json
from segduet.workflows import ray_prediction
from segduet.workflows.load_request import LoadRequest
from segduet.workflows.prediction_request import PredictRequest
from segduet.workflows.ray_prediction import RayPredictChoice, predict_on_ray
from segduet.workflows.submitting import ClusterChoice, connected_ray

CASES = tuple(f"c{i}" for i in range(8))
#: Not an image.
BAD = "c8"


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Started once, for all tests of the file that predict."""
    with connected_ray(ClusterChoice(num_cpus=2)):
        yield


@pytest.fixture
def on_ray(
    cluster: None, monkeypatch: pytest.MonkeyPatch, road: Any, conversions: Path, tmp_path: Path
) -> Callable[..., Any]:
    """`on_ray(name, on_case, resume=False)` predicts into that folder by two workers."""
    monkeypatch.setattr(ray_prediction, "connected_ray", lambda _: contextlib.nullcontext())

    def run(name: str, on_case: Callable[..., None], **more: Any) -> dict[str, Any]:
        loading = LoadRequest(
            model=road.model, mirrored=False, engine="onnx", cache=conversions, threads=None
        )
        request = PredictRequest(
            loading=loading, inputs=[tmp_path / "images"], out=tmp_path / name, **more
        )
        return dict(predict_on_ray(request, RayPredictChoice(workers=2), on_case).outcome)

    return run


@pytest.fixture
def images(road: Any, tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    shutil.copytree(road.raw / "imagesTr", folder)
    (folder / f"{BAD}_0000.nii.gz").write_bytes(b"no image")
    return folder


@pytest.fixture
def whole(
    road: Any, segduet: Callable[..., Any], images: Path, conversions: Path, tmp_path: Path
) -> Path:
    """The folder of an undivided run."""
    command = ("predict", road.model, images, "--out", tmp_path / "whole", "--no-tta")
    more = ("--engine", "onnx", "--cache", conversions, "--threads", 1, "--device", "cpu")
    assert segduet(*command, *more, "--json").code == 2, "one bad case"
    return tmp_path / "whole"


def answers(folder: Path) -> list[dict[str, str]]:
    """Everything but how long it took."""
    return [{**row, "seconds": ""} for row in read_csv(folder / "predictions.csv")[1]]


def written_down(folder: Path) -> list[str]:
    """Every case that was answered, as often as it was."""
    files = sorted(folder.glob("progress*.jsonl"))
    lines = [json.loads(line) for file in files for line in file.read_text().splitlines()[1:]]
    return sorted(line["row"]["case"] for line in lines if line["row"]["status"] == "ok")


def worker_processes() -> list[int]:
    """Those of our cluster that hold a model."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            title = (folder / "cmdline").read_bytes()
            if title.startswith(b"ray::_Worker") and _is_ours(int(folder.name)):
                found.append(int(folder.name))
    return found


def are_gone() -> bool:
    """Ray ends them without waiting for it."""
    until = time.monotonic() + 5
    while worker_processes() and time.monotonic() < until:
        time.sleep(0.05)
    return not worker_processes()


def _is_ours(pid: int) -> bool:
    while pid > 1 and pid != os.getpid():
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return pid == os.getpid()


def test_a_killed_worker_changes_no_answer(
    on_ray: Callable[..., Any], whole: Path, tmp_path: Path
) -> None:
    """Answers, masks and failures of an undivided run; nothing is lost and nothing done twice."""
    told, killed = [], []

    def kill_one(done: int, total: int, case: str) -> None:
        told.append((done, total, case))
        if not killed:
            killed.append(worker_processes()[0])
            os.kill(killed[0], signal.SIGKILL)

    outcome = on_ray("parts", kill_one)
    parts = tmp_path / "parts"
    assert len(killed) == 1
    assert [done for done, *_ in told] == list(range(1, 10))
    assert {total for _, total, _ in told} == {9}
    assert sorted(case for *_, case in told) == [*CASES, BAD]
    assert answers(parts) == answers(whole)
    assert written_down(parts) == list(CASES)
    for mask in whole.glob("*.nii.gz"):
        assert (parts / mask.name).read_bytes() == mask.read_bytes()
    manifest = read_json(parts / "manifest.json")
    assert outcome["failed"] == manifest["outcome"]["failed"]
    assert outcome["failed"] == read_json(whole / "manifest.json")["outcome"]["failed"]
    assert list(outcome["failed"]) == [BAD]
    assert manifest["arguments"]["ray"] == {"workers": 2, "gpus": 0, "address": None, "shards": 8}
    assert manifest["arguments"]["threads"] == 1
    assert are_gone()


def test_an_interrupted_run_keeps_what_is_done_and_goes_on(
    on_ray: Callable[..., Any], whole: Path, tmp_path: Path
) -> None:
    def interrupt(done: int, total: int, case: str) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        on_ray("parts", interrupt)
    assert are_gone()
    parts = tmp_path / "parts"
    before = {path: path.stat().st_mtime_ns for path in parts.glob("*.nii.gz")}
    kept = {path for path in before if path.name.removesuffix(".nii.gz") in written_down(parts)}
    assert len(kept) >= 2
    told: list[int] = []
    on_ray("parts", lambda done, *_: told.append(done), resume=True)
    assert told[0] > len(kept)
    assert told[-1] == 9
    assert {path for path in kept if path.stat().st_mtime_ns == before[path]} == kept
    assert written_down(parts) == list(CASES)
    assert answers(parts) == answers(whole)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--address", "auto"), ("--address without --ray-workers",)),
        (("--worker-gpus", "1"), ("--worker-gpus without --ray-workers",)),
        (("--ray-workers", "2", "--shard", "1/2"), ("--shard 1/2", "Leave one")),
        (("--ray-workers", "2", "--device", "cuda"), ("--device cuda", "0 GPUs")),
        (("--ray-workers", "2", "--worker-gpus", "0.5", "--device", "cpu"), ("0.5 GPUs",)),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    segduet: Callable[..., Any], tmp_path: Path, options: tuple[str, ...], words: tuple[str, ...]
) -> None:
    ended = segduet("predict", tmp_path, tmp_path, "--out", tmp_path / "out", *options)
    assert ended.code == 2
    assert all(word in ended.err for word in words)
    assert "Traceback" not in ended.err
    assert not (tmp_path / "out").exists()


def test_without_ray_the_extra_is_named(
    segduet: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    out = tmp_path / "out"
    ended = segduet("predict", tmp_path, tmp_path, "--out", out, "--ray-workers", 2)
    assert ended.code == 2
    assert "package ray" in ended.err
    assert "pip install 'segduet[scale]'" in ended.err
    assert len(ended.err.splitlines()) == 1
    assert not out.exists()


def test_a_model_that_is_not_there_is_one_message(
    on_ray: Callable[..., Any], segduet: Callable[..., Any], images: Path, tmp_path: Path
) -> None:
    """What a worker refuses reaches the user as from this process, and nothing is begun."""
    out = tmp_path / "out"
    ended = segduet("predict", tmp_path / "no-model", images, "--out", out, "--ray-workers", 2)
    assert ended.code == 2
    assert str(tmp_path / "no-model") in ended.err
    assert len([line for line in ended.err.splitlines() if line.startswith("error:")]) == 1
    assert "Traceback" not in ended.err
    assert not out.exists()
