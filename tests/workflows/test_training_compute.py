"""How a training computes its steps reaches the training, its record and a resumed run."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from segduet.core.errors import RequestError
from segduet.core.files import read_json, write_json
from segduet.core.folders import DataRoot
from segduet.training import devices
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
    """B10, F70, issue 4.8: what was measured at the start is not measured again.

    A teacher answers in the precision that was chosen too.
    """
    root = DataRoot.resolve(road.copy(tmp_path / "road").data, {})
    taught = ("distillation.kind=teacher", f"distillation.teacher={road.model}")
    measured = ("compute=measured", "precision=fp32", *taught)
    trial = Trial(precision="bf16", compiled=False, step_seconds=1.0)
    asked: list[Compute] = []

    def choose_bf16(job: TrainingJob) -> Compute:
        asked.append(job.compute)
        return replace(job.compute, precision="bf16", trials=(trial,))

    monkeypatch.setattr(training_compute, "measured_compute", choose_bf16)
    found = {}
    for name, request in (
        ("plain", _request("precision=bf16", *taught, name="plain")),
        ("begun", _request(*measured, name="halves", until_epoch=1)),
        ("ended", _request(*measured, name="halves", resume=True)),
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


@pytest.fixture
def thin(road: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A copy of the road whose last stage is two slices deep, on a CPU that has bf16."""
    monkeypatch.setattr(devices, "has_bf16", lambda _device: True)
    mine = road.copy(tmp_path / "road")
    file = mine.preprocessed / "segduetSmallPlans.json"
    plan = read_json(file)
    architecture = plan["configurations"]["3d_fullres"]["architecture"]
    architecture["arch_kwargs"]["strides"][-1][0] = 4
    write_json(file, plan)
    return mine


def _train_thin(segduet: Callable, thin: Any, precision: str) -> Any:
    changes = [part for change in _SHORT for part in ("--set", change)]
    return segduet(
        *("train", "tiny", *changes, "--precision", precision, "--name", "thin"),
        *("--workers", "0", "--device", "cpu", "--data-root", thin.data),
    )


def test_auto_keeps_a_thin_network_from_bf16_and_says_so(thin: Any, segduet: Callable) -> None:
    """F48: PyTorch would get its gradients wrong."""
    finished = _train_thin(segduet, thin, "auto")
    assert finished.code == 0, finished.err
    assert "note: computes in fp32, not in bf16: a 3 x 3 x 3 convolution" in finished.out
    (folder,) = thin.data.glob("nnUNet_results/*/thin*/fold_0")
    assert read_json(folder / "run.json")["precision"] == "fp32"
    (manifest,) = folder.glob("*manifest*.json")
    assert any("not in bf16" in warning for warning in read_json(manifest)["warnings"])


def test_bf16_asked_for_a_thin_network_is_one_clear_message(thin: Any, segduet: Callable) -> None:
    """F48, bad input: before anything is written."""
    finished = _train_thin(segduet, thin, "bf16")
    assert finished.code == 2
    assert "feature maps 2 deep" in finished.err
    assert "--precision fp32" in finished.err
    assert "Traceback" not in finished.err
    assert not list(thin.data.glob("nnUNet_results/*/thin*/fold_0/*"))


def test_bf16_measured_elsewhere_does_not_go_on_in_a_thin_network(
    thin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bad input: measured on a GPU, say."""
    chosen = {"precision": "bf16", "compiled": False, "compute_trials": []}
    monkeypatch.setattr(training_compute, "read_compute", lambda *_: chosen)
    root = DataRoot.resolve(thin.data, {})
    with pytest.raises(RequestError, match=r"measured choice: found .* 2 deep"):
        train(root, _request("compute=measured", resume=True))
