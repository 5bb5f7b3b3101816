"""F71, B12, B13: the same answers, whatever runs the network; through the command line."""

import csv
import dataclasses
import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK

from segduet.core.errors import RequestError
from segduet.inference.engines import openvino_engine
from segduet.inference.engines.converted_engine import ConvertedEngine
from segduet.inference.engines.runtimes import EngineName
from segduet.workflows.load_request import LoadRequest
from segduet.workflows.python_interface import load

RUNTIMES = ("openvino", "onnx")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's own cache folder stays out of it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))


def answers(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "predictions.csv").open(newline="") as stream:
        return {row["case"]: row for row in csv.DictReader(stream)}


def voxels(path: Path) -> np.ndarray:
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))


def same_answers(a: Path, b: Path, ending: str) -> int:
    """Asserts equal masks and, within rounding of fp32, equal probabilities; counts the cases."""
    ours, theirs = answers(a), answers(b)
    assert ours.keys() == theirs.keys()
    differing = total = 0
    for case, row in ours.items():
        masks = [voxels(folder / f"{case}{ending}") for folder in (a, b)]
        differing += np.count_nonzero(masks[0] != masks[1])
        total += masks[0].size
        for column in (c for c in row if ":" in c):
            tolerance = 1e-4 if column.startswith("class") else 0.5
            assert float(theirs[case][column]) == pytest.approx(float(row[column]), abs=tolerance)
    assert differing <= 1e-4 * total
    return len(ours)


@pytest.fixture(scope="module")
def flat(
    segduet: Callable[..., Any],
    nerves: Path,
    tiny_training: tuple[str, ...],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, Path]:
    """A trained 2D model, and its images."""
    done = segduet(
        *("train", "nerves", "-c", "2d", *tiny_training, "--name", "flat"),
        *("--set", "validation.final=false", "--data-root", nerves, "--json"),
    )
    assert done.code == 0, done.err
    kept = tmp_path_factory.mktemp("flat")
    run = Path(done.json()["run_folder"])
    shutil.move(run.parent, kept / run.parent.name)
    (raw,) = (nerves / "nnUNet_raw").iterdir()
    return kept / run.parent.name, raw / "imagesTr"


@pytest.fixture
def predict(segduet: Callable[..., Any], conversions: Path, tmp_path: Path) -> Callable[..., Path]:
    """`predict(model, images, engine, *options)`; mirrored unless told otherwise."""

    def run(model: Path, images: Path, engine: str, *options: object) -> Path:
        out = tmp_path / engine
        done = segduet(
            *("predict", model, images, "--out", out, "--engine", engine, "--device", "cpu"),
            *("--cache", conversions, *options, "--json"),
        )
        assert done.code == 0, done.err
        assert done.json()["engine"]["name"] == engine
        return out

    return run


@pytest.mark.parametrize("engine", RUNTIMES)
def test_both_answers_of_a_3d_network(road: Any, predict: Callable, engine: str) -> None:
    images = road.raw / "imagesTr"
    reference = predict(road.model, images, "torch")
    assert same_answers(reference, predict(road.model, images, engine), ".nii.gz") == 8


@pytest.mark.parametrize("engine", RUNTIMES)
def test_both_answers_of_a_2d_network(
    flat: tuple[Path, Path], predict: Callable, engine: str
) -> None:
    reference, found = predict(*flat, "torch"), predict(*flat, engine)
    ending = next(iter(flat[1].iterdir())).suffix
    assert same_answers(reference, found, ending) == 12


@dataclasses.dataclass(frozen=True)
class _Seen:
    """Which threads answered, and with how many streams each network was opened."""

    threads: set[str] = dataclasses.field(default_factory=set)
    streams: list[int] = dataclasses.field(default_factory=list)

    @property
    def is_side_by_side(self) -> bool:
        return all(name.startswith("segduet-case") for name in self.threads)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> _Seen:
    found = _Seen()
    answer, open_network = ConvertedEngine.predict, openvino_engine.open_openvino

    def watched_answer(*args: Any, **options: Any) -> Any:
        found.threads.add(threading.current_thread().name)
        return answer(*args, **options)

    def watched_open(*args: Any, **options: Any) -> Any:
        found.streams.append(options["num_streams"])
        return open_network(*args, **options)

    monkeypatch.setattr(ConvertedEngine, "predict", watched_answer)
    monkeypatch.setattr(openvino_engine, "open_openvino", watched_open)
    return found


_QUICK = ("--no-tta", "--threads", 3)


def test_pictures_of_a_cohort_are_answered_side_by_side(
    flat: tuple[Path, Path], predict: Callable, seen: _Seen
) -> None:
    """One by each thread; a test above shows that answers stay the same."""
    predict(*flat, "openvino", *_QUICK)
    assert seen.streams == [3]
    assert seen.threads
    assert seen.is_side_by_side


def test_few_pictures_leave_no_thread_idle(
    flat: tuple[Path, Path], predict: Callable, seen: _Seen, tmp_path: Path
) -> None:
    """One picture has all threads, two of them half each; so have all models of an ensemble."""
    images = sorted(flat[1].iterdir())
    few = tmp_path / "few"
    few.mkdir()
    shutil.copy(images[0], few)
    predict(flat[0], few, "openvino", *_QUICK)
    assert (seen.streams, seen.is_side_by_side) == ([1], False)
    seen.streams.clear()
    seen.threads.clear()
    shutil.copy(images[1], few)
    predict(flat[0], few, "openvino", *_QUICK, "--also", flat[0])
    assert (seen.streams, seen.is_side_by_side) == ([2, 2], True)


def test_only_small_pictures_are_answered_side_by_side(
    flat: tuple[Path, Path], road: Any, predict: Callable, seen: _Seen, tmp_path: Path
) -> None:
    """Neither volumes nor pictures of many patches, of which several would take much memory."""
    predict(road.model, road.raw / "imagesTr", "openvino", *_QUICK)
    large = tmp_path / flat[0].name
    shutil.copytree(flat[0], large, ignore=shutil.ignore_patterns(".segduet"))
    plans = json.loads((large / "plans.json").read_text())
    plans["configurations"]["2d"]["median_image_size_in_voxels"] = [10_000, 10_000]
    (large / "plans.json").write_text(json.dumps(plans))
    predict(large, flat[1], "openvino", *_QUICK, "--cache", tmp_path / "cache")
    assert seen.streams == [1, 1]
    assert seen.threads == {"MainThread"}


def test_a_stock_nnunet_model_through_openvino(stock_training: Any, predict: Callable) -> None:
    """B11: masks as torch gives them, and a table without a class."""
    images = stock_training.road.raw / "imagesTr"
    reference = predict(stock_training.model, images, "torch")
    found = predict(stock_training.model, images, "openvino")
    assert same_answers(reference, found, ".nii.gz") == 8
    assert set(answers(found)["c0"]) == {"case", "status", "message", "seconds"}


def test_a_stock_model_that_was_not_trained_mirrored_is_not_mirrored(
    stock_training: Any, predict: Callable, tmp_path: Path
) -> None:
    """The axes come from the conversion's manifest; the checkpoint is not read again."""
    import torch

    model = tmp_path / stock_training.model.name
    shutil.copytree(stock_training.model, model)
    checkpoint = model / "fold_0" / "checkpoint_final.pth"
    content = torch.load(checkpoint, weights_only=False)
    torch.save({**content, "inference_allowed_mirroring_axes": (1,)}, checkpoint)
    assert load(model, engine="openvino", cache=tmp_path / "cache").model.mirror_axes == (1,)
    assert load(model, engine="openvino", cache=tmp_path / "cache").model.mirror_axes == (1,)


def test_folds_answer_as_an_ensemble(road: Any, predict: Callable, tmp_path: Path) -> None:
    """Two folds that differ: other than one alone, and as torch averages them."""
    model = tmp_path / road.model.name
    shutil.copytree(road.model, model, ignore=shutil.ignore_patterns(".segduet"))
    shutil.copytree(model / "fold_0", model / "fold_1")
    weights = model / "fold_1" / "model.safetensors"
    _change_weights(weights)
    images = road.raw / "imagesTr"
    both = predict(model, images, "openvino")
    manifest = json.loads((both / "manifest.json").read_text())
    assert manifest["arguments"]["folds"] == ["0", "1"]
    assert len(manifest["outcome"]["engine"]["members"]) == 2
    same_answers(predict(model, images, "torch"), both, ".nii.gz")
    column = "class:bright"
    together = float(answers(both)["c0"][column])
    alone = float(answers(predict(model, images, "openvino", "--folds", "0"))["c0"][column])
    assert abs(together - alone) > 1e-3


def _change_weights(weights: Path) -> None:
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    with safe_open(weights, framework="pt") as stream:
        header = stream.metadata()
    tensors = {
        name: tensor * (1.5 if name.startswith("heads.") else 1.0)
        for name, tensor in load_file(weights).items()
    }
    save_file(tensors, weights, metadata=header)


def test_attention_takes_torch_and_says_so(road: Any, segduet: Callable, tmp_path: Path) -> None:
    image = road.raw / "imagesTr" / "c6_0000.nii.gz"
    base = ("predict", road.model, image, "--no-tta", "--device", "cpu", "--attention")
    done = segduet(*base, "--out", tmp_path / "out")
    assert done.code == 0, done.err
    (line,) = [line for line in done.out.splitlines() if line.startswith("engine: ")]
    assert line.startswith("engine: torch, cpu, fp32: ")
    assert "attention" in line
    refused = segduet(*base, "--engine", "openvino", "--out", tmp_path / "none")
    assert refused.code == 2
    assert "attention" in refused.err
    assert not (tmp_path / "none").exists()


def test_the_choice_is_printed_once_and_recorded(
    road: Any, segduet: Callable, conversions: Path, tmp_path: Path
) -> None:
    image = road.raw / "imagesTr" / "c6_0000.nii.gz"
    out = tmp_path / "out"
    done = segduet(
        *("predict", road.model, image, "--no-tta", "--device", "cpu", "--threads", 1),
        *("--cache", conversions, "--out", out),
    )
    assert done.code == 0, done.err
    manifest = json.loads((out / "manifest.json").read_text())
    engine = manifest["outcome"]["engine"]
    assert (engine["name"], engine["precision"], engine["threads"]) == ("openvino", "fp32", 1)
    assert done.out.count(engine["why"]) == 1
    assert manifest["arguments"]["engine"] == "auto"


def test_an_engine_of_another_name_is_refused(road: Any, segduet: Callable, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no engine of this name; expected one of auto, torch"):
        load(road.model, engine="mxnet")
    done = segduet("predict", road.model, tmp_path, "--out", tmp_path / "o", "--engine", "mxnet")
    assert done.code == 2
    assert "mxnet" in done.err


@pytest.mark.parametrize("engine", RUNTIMES)
def test_an_engine_that_is_not_installed_is_one_message(
    road: Any,
    segduet: Callable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    engine: str,
) -> None:
    import importlib.util

    package = {"openvino": "openvino", "onnx": "onnxruntime"}[engine]
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec",
        lambda name, *a: None if name == package else find_spec(name, *a),
    )
    done = segduet(
        *("predict", road.model, road.raw / "imagesTr", "--out", tmp_path / "out"),
        *("--engine", engine, "--device", "cpu"),
    )
    assert done.code == 2
    assert len(done.err.splitlines()) == 1
    assert f"{package} is not installed" in done.err
    assert "pip install" in done.err
    assert not (tmp_path / "out").exists()


def test_python_and_the_command_offer_the_same_engines() -> None:
    from segduet.cli.options import EngineChoice, PrecisionChoice
    from segduet.inference.engines.choice import PRECISIONS

    assert [str(v) for v in EngineChoice] == [str(v) for v in EngineName]
    assert [str(v) for v in PrecisionChoice] == ["auto", *PRECISIONS]
    assert LoadRequest(model=Path()).precision == "auto"
