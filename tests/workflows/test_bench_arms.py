"""F66, F75, F86: every option of prediction is a switch of either arm, under its own name."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from segduet.core.errors import DataError, RequestError
from segduet.inference.aggregation import Aggregation
from segduet.workflows import bench_arms
from segduet.workflows.bench_arms import (
    ArmKind,
    load_arguments,
    parse_options,
    segduet_arm,
    stock_arm,
    stock_settings,
)
from segduet.workflows.bench_session import BenchRequest
from segduet.workflows.benchmarking import bench_arms as both_arms
from segduet.workflows.python_interface import load

MODEL, IMAGES, OUT = Path("model"), Path("images"), Path("out")


def test_options_become_the_command_line_of_predict() -> None:
    options = parse_options(["engine=openvino", "no_tta", "step=0.75"], where="--option")
    arm = segduet_arm(MODEL, options, where="--option")
    assert arm.command(IMAGES, OUT) == [
        *(sys.executable, "-m", "segduet", "predict", "model", "images", "--out", "out"),
        *("--engine", "openvino", "--no-tta", "--step", "0.75"),
    ]


def test_the_same_options_become_arguments_of_load() -> None:
    """So that a warm process predicts as the command does."""
    told = {"no-tta": "true", "step": "0.75", "aggregation": "mean", "folds": "0, 2"}
    assert load_arguments(told, where="--option") == {
        "mirrored": False,
        "step": 0.75,
        "aggregation": Aggregation.MEAN,
        "folds": ["0", "2"],
    }
    assert load_arguments({"no-tta": "false"}, where="--option") == {"mirrored": True}


def test_a_flag_that_is_switched_off_is_left_out_where_it_has_no_opposite() -> None:
    options = parse_options(["no_calibration=false", "no_tta=false"], where="--option")
    arm = segduet_arm(MODEL, options, where="--option")
    assert arm.command(IMAGES, OUT)[8:] == ["--tta"]
    assert load_arguments(options, where="--option") == {"no_calibration": False, "mirrored": True}


def test_an_option_that_load_gets_tomorrow_needs_no_change_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def tomorrow(model: str, *, tile_rows: int = 1, mode: str = "exact") -> None:
        """Stands for `load`."""

    monkeypatch.setattr(bench_arms, "load", tomorrow)
    assert load_arguments({"tile-rows": "4", "mode": "fast"}, where="--option") == {
        "tile_rows": 4,
        "mode": "fast",
    }


def test_every_argument_of_load_that_changes_speed_is_an_option_of_predict(
    segduet: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The two name the same thing alike; mirrored is --no-tta, attention is kept apart."""
    import inspect

    monkeypatch.setenv("COLUMNS", "200")
    shown = segduet("predict", "--help").out
    names = set(inspect.signature(load).parameters) - {"model", "mirrored", "keep_attention"}
    assert {n for n in names if f"--{n.replace('_', '-')}" not in shown} == set()
    assert "--no-tta" in shown


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["stepp=0.5"], "stepp.*no such option.*'step'"),
        (["step=half"], "step=half.*valid number"),
        (["no-tta=perhaps"], "no-tta=perhaps.*valid boolean"),
        (["checkpoints=best"], "checkpoints=best.*'final' or 'all'"),
        (["cores=0"], "cores=0.*greater than or equal to 1"),
        (["step=0.5", "step=1"], "a name twice"),
        (["=0.5"], "no name"),
    ],
)
def test_an_option_that_does_not_fit_is_one_message(options: list[str], words: str) -> None:
    with pytest.raises(RequestError, match=words):
        segduet_arm(MODEL, parse_options(options, where="--option"), where="--option")


def request(road: Any, **changed: Any) -> BenchRequest:
    return BenchRequest(model=road.model, inputs=[road.raw / "imagesTr"], out=OUT, **changed)


def test_the_baseline_takes_over_what_it_is_not_told_otherwise(road: Any) -> None:
    """An ablation: one switch differs (F75). Twice the same: a no-op (F85)."""
    told = {"against": "same", "options": ("no-tta", "step=1", "precision=fp32")}
    candidate, baseline = both_arms(
        request(road, **told, baseline_options=("step=0.5", "no-tta=false"))
    ).values()
    assert candidate.options == {"no-tta": "true", "step": "1", "precision": "fp32"}
    assert baseline.options == {"no-tta": "false", "step": "0.5", "precision": "fp32"}
    assert "--no-tta" not in baseline.command(IMAGES, OUT)
    no_op = both_arms(request(road, **told)).values()
    assert len({str(arm.command(IMAGES, OUT)) for arm in no_op}) == 1


def test_stock_nnunet_gets_the_same_folds_mirroring_and_step(road: Any) -> None:
    """F86: and what it does not have is noted."""
    told = ("no-tta", "step=0.75", "precision=bf16", "device=cpu", "cores=1")
    baseline = list(both_arms(request(road, options=told)).values())[1]
    assert baseline.kind is ArmKind.NNUNET
    assert (baseline.cores, baseline.not_taken_over) == (1, ("precision=bf16",))
    command = baseline.command(IMAGES, OUT)
    assert Path(command[0]).name == "nnUNetv2_predict_from_modelfolder"
    assert command[1:] == [
        *("-i", "images", "-o", "out", "-m", str(road.model), "-f", "0"),
        *("-chk", "checkpoint_final.pth", "-device", "cpu", "-step_size", "0.75", "--disable_tta"),
    ]
    assert stock_settings(baseline) == {
        **{"folds": ["0"], "checkpoint_name": "checkpoint_final.pth"},
        **{"mirrored": False, "step": 0.75, "device": "cpu"},
    }


def test_a_fold_folder_and_another_folder_can_be_named(road: Any) -> None:
    """A bundle is compared with the folder it was made of."""
    told = request(road, against=f"nnunet:{road.run}", options=("no-tta",))
    baseline = list(both_arms(told).values())[1]
    assert (baseline.model, baseline.folds) == (road.model, ("0",))


def test_stock_nnunet_refuses_what_it_does_not_know(road: Any) -> None:
    with pytest.raises(RequestError, match=r"--baseline-option engine.*no such option"):
        both_arms(request(road, baseline_options=("engine=torch",)))


def test_without_nnunetv2_the_baseline_is_refused(
    road: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_arms.shutil, "which", lambda *_args, **_kwargs: None)
    with pytest.raises(RequestError, match=r"--against nnunet: found no nnUNetv2_predict_from"):
        both_arms(request(road))


def test_a_fold_without_a_stock_checkpoint_is_named(road: Any, tmp_path: Path) -> None:
    mine = road.copy(tmp_path / "road")
    (mine.run / "checkpoint_final.pth").unlink()
    with pytest.raises(RequestError, match=r"fold 0.*no finished checkpoint"):
        stock_arm(mine.model, {}, {}, where="--baseline-option")


def test_a_checkpoint_that_could_run_code_never_reaches_nnunet(road: Any, tmp_path: Path) -> None:
    """B20: nnU-Net's own reader would run it."""
    mine = road.copy(tmp_path / "road")
    content = torch.load(mine.run / "checkpoint_final.pth", weights_only=False)
    torch.save({**content, "extra": print}, mine.run / "checkpoint_final.pth")
    with pytest.raises(DataError, match="no plain checkpoint"):
        stock_arm(mine.model, {}, {}, where="--baseline-option")
