"""F69, B14: a model is pruned, judged and trained on from the command line."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from segduet.core.files import read_csv, read_json

PRUNED = "pruned__segduetSmallPlans__3d_fullres"


@pytest.fixture(scope="module")
def pruned(road: Any, segduet: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The road's model with half its channels: what the command said, and the folder."""
    out = tmp_path_factory.mktemp("pruned")
    finished = segduet("prune", road.model, "--keep", 0.5, "--out", out, "--json")
    assert finished.code == 0, finished.err
    return finished, out / PRUNED


def test_parameters_and_arithmetic_fall_to_about_a_quarter(road: Any, pruned: Any) -> None:
    finished, folder = pruned
    cost = finished.json()["folds"]["0"]
    for figure in ("parameters", "multiply_adds"):
        assert 0.2 < cost["after"][figure] / cost["before"][figure] < 0.4, figure
    files = [(m / "fold_0" / "model.safetensors").stat().st_size for m in (folder, road.model)]
    assert files[0] < 0.5 * files[1]
    assert read_json(folder / "manifest.json")["command"] == "prune"


def test_a_pruned_model_predicts_both_answers(
    road: Any, pruned: Any, segduet: Callable[..., Any], tmp_path: Path
) -> None:
    image = road.raw / "imagesTr" / "c6_0000.nii.gz"
    finished = segduet("predict", pruned[1], image, "--out", tmp_path / "out", "--no-tta")
    assert finished.code == 0, finished.err
    assert (tmp_path / "out" / "c6.nii.gz").is_file()
    row = read_csv(tmp_path / "out" / "predictions.csv")[1][0]
    assert row["class"] in ("bright", "dark")


def test_training_goes_on_from_all_of_its_weights(
    road: Any,
    pruned: Any,
    segduet: Callable[..., Any],
    tiny_training: tuple[str, ...],
    tmp_path: Path,
) -> None:
    mine = road.copy(tmp_path / "road")
    finished = segduet(
        *("train", "tiny", "--data-root", mine.data, "--name", "again", *tiny_training),
        *("--pretrained", pruned[1] / "fold_0" / "model.safetensors"),
        *("--set", f"network.width_factor={pruned[0].json()['width_factor']}"),
    )
    assert finished.code == 0, finished.err
    run = next(mine.data.rglob("*again__*")) / "fold_0" / "run.json"
    start = json.loads(run.read_text())["warm_start"]
    assert start["loaded"] > 20
    assert not start["missing"]
    assert not start["wrong_shape"]


@pytest.mark.parametrize("keep", ["0", "1", "1.5", "-0.2", "0.999"])
def test_a_share_that_prunes_nothing_or_all_is_refused(
    road: Any, segduet: Callable[..., Any], tmp_path: Path, keep: str
) -> None:
    finished = segduet("prune", road.model, "--keep", keep, "--out", tmp_path / "out")
    assert finished.code == 2
    assert "--keep" in finished.err
    assert not list(tmp_path.glob("out/*"))


def test_an_earlier_folder_is_left_alone(
    road: Any, pruned: Any, segduet: Callable[..., Any]
) -> None:
    before = (pruned[1] / "manifest.json").read_bytes()
    finished = segduet("prune", road.model, "--keep", 0.3, "--out", pruned[1].parent)
    assert finished.code == 2
    assert "--out" in finished.err
    assert (pruned[1] / "manifest.json").read_bytes() == before


def test_a_model_may_replace_itself(road: Any, segduet: Callable[..., Any], tmp_path: Path) -> None:
    finished = segduet(
        *("gate", road.model, road.model, "--cases", "tiny", "--data-root", road.data),
        *("--out", tmp_path / "gate", "--json"),
    )
    assert finished.code == 0, finished.err
    report = finished.json()
    assert report["passed"]
    assert report["n"] == 2, "the validation cases"
    assert read_json(tmp_path / "gate" / "gate.json") == report


def test_a_model_that_loses_too_much_is_refused_with_the_reasons_kept(
    road: Any, pruned: Any, segduet: Callable[..., Any], tmp_path: Path
) -> None:
    """The tiny network cannot spare three quarters of its weights without being trained on."""
    command = ["gate", road.model, pruned[1], "--cases", "tiny", "--data-root", road.data]
    finished = segduet(*command, "--out", tmp_path / "gate")
    assert finished.code == 2
    assert "loses too much" in finished.err
    assert "Traceback" not in finished.err
    report = read_json(tmp_path / "gate" / "gate.json")
    assert not report["passed"]
    assert report["reasons"]
    generous = ("--max-dsc-loss", 1, "--max-f1-loss", 1, "--min-dice", 0)
    assert segduet(*command, "--out", tmp_path / "generous", *generous).code == 0


def test_folds_are_not_judged_by_each_others_training_cases(
    road: Any, segduet: Callable[..., Any], tmp_path: Path
) -> None:
    """Every case of a cross-validation was trained on by all folds but one."""
    mine = road.copy(tmp_path / "road")
    finished = segduet("plan", "tiny", "--planner", "small", "--folds", 2, "--data-root", mine.data)
    assert finished.code == 0, finished.err
    shutil.copytree(mine.run, mine.model / "fold_1")
    command = ("--cases", "tiny", "--data-root", mine.data, "--out", tmp_path / "gate")
    both = segduet("gate", mine.model, mine.model, *command)
    assert both.code == 2
    assert "none of them was trained on" in both.err
    one = mine.model / "fold_1"
    assert segduet("gate", one, one, *command).code == 0
