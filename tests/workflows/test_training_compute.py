"""How a training computes its steps reaches the training, its record and a resumed run."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from segduet.core.errors import RequestError
from segduet.core.folders import DataRoot
from segduet.training.checkpoint import read_model
from segduet.training.devices import Compute, Trial
from segduet.training.launch import Launch
from segduet.training.loop import TrainingJob
from segduet.training.recipe_files import load_recipe
from segduet.workflows import training_compute
from segduet.workflows.models import MODEL_FILE
from segduet.workflows.train_request import TrainRequest
from segduet.workflows.training import train
from segduet.workflows.training_compute import requested_compute

_SHORT = ["epochs=2", "steps_per_epoch=1", "head.hidden=[8]", "validation.patches_per_epoch=0"]
_SHORT += ["validation.final=false", "details_every=0", "averaging={kind: none}"]


def _request(*changes: str, **more: Any) -> TrainRequest:
    recipe = load_recipe("default", [*_SHORT, *changes])
    return TrainRequest(dataset="tiny", recipe=recipe, device="cpu", workers=0, **more)


def test_a_measured_training_says_and_records_what_it_chose(
    road: Any, segduet: Callable, tmp_path: Path
) -> None:
    """Issue 4.8: of the one precision asked for; the training is too short to compile."""
    mine = road.copy(tmp_path / "road")
    changes = [part for change in _SHORT for part in ("--set", change)]
    finished = segduet(
        *("train", "tiny", *changes, "--set", "compute=measured", "--precision", "fp32"),
        *("--workers", "0", "--device", "cpu", "--overwrite", "--data-root", mine.data),
    )
    assert finished.code == 0, finished.err
    (note,) = [line for line in finished.out.splitlines() if line.startswith("note: ")]
    assert "computes in fp32, measured at the start: fp32 0." in note
    record = json.loads((mine.run / "run.json").read_text())
    plain, compiled = record["compute_trials"]
    assert (record["precision"], record["compiled"]) == ("fp32", False)
    assert plain["step_seconds"] > 0
    assert (compiled["compiled"], compiled["step_seconds"]) == (True, None)
    assert "too short" in compiled["reason"]


def test_a_resumed_training_takes_the_recorded_choice_bit_for_bit(
    road: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B10, issue 4.8: what was measured at the start is not measured again."""
    root = DataRoot.resolve(road.copy(tmp_path / "road").data, {})
    trial = Trial(precision="bf16", compiled=False, step_seconds=1.0)
    asked: list[Compute] = []

    def choose_bf16(job: TrainingJob) -> Compute:
        asked.append(job.compute)
        return replace(job.compute, precision="bf16", trials=(trial,))

    monkeypatch.setattr(training_compute, "measured_compute", choose_bf16)
    found = {}
    for name, request in (
        ("plain", _request("precision=bf16", name="plain")),
        ("begun", _request("compute=measured", name="halves", until_epoch=1)),
        ("ended", _request("compute=measured", name="halves", resume=True)),
    ):
        folder = Path(train(root, request).outcome["run_folder"])
        found[name] = json.loads((folder / "run.json").read_text())
    assert len(asked) == 1
    assert found["ended"]["precision"] == "bf16"
    assert found["ended"]["compute_trials"] == found["begun"]["compute_trials"] != []
    assert found["plain"]["compute_trials"] == []
    ended, _ = read_model(folder / MODEL_FILE)
    plain, _ = read_model(Path(str(folder).replace("halves", "plain")) / MODEL_FILE)
    assert all(torch.equal(plain[name], tensor) for name, tensor in ended.items())


def test_compiling_without_a_compiler_is_one_clear_message(
    road: Any, segduet: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Issue 4.8, bad input: before anything is written."""
    monkeypatch.setenv("CXX", "no-such-compiler")
    finished = segduet(
        *("train", "tiny", "--set", "compile=true", "--name", "uncompiled", "--device", "cpu"),
        *("--data-root", road.data),
    )
    assert finished.code == 2
    assert "no C++ compiler no-such-compiler" in finished.err
    assert "Traceback" not in finished.err
    assert not list(road.data.glob("nnUNet_results/*/uncompiled*"))


@pytest.mark.parametrize("change", ["compile=true", "compute=measured"])
def test_several_processes_neither_compile_nor_measure(change: str) -> None:
    """Issue 4.8, bad input."""
    with pytest.raises(RequestError, match=rf"{change}.*2 processes"):
        requested_compute(_request(change, launch=Launch(size=2, local_size=2)))
