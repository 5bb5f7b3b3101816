"""Settings of a recipe reach the training that `segduet train` runs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from segduet.training.thermal import ThermalConfig
from segduet.workflows import training_run


@pytest.fixture
def first_losses(
    road: Any, segduet: Callable, tiny_training: tuple[str, ...], tmp_path: Path
) -> Callable[..., dict[str, float]]:
    """Trains on a copy of the road with further arguments; mean losses of the first epoch."""
    mine = road.copy(tmp_path / "road")

    def trained(*arguments: str) -> dict[str, float]:
        finished = segduet(
            *("train", "tiny", *tiny_training, "--set", "validation.final=false"),
            *("--overwrite", *arguments, "--data-root", mine.data, "--json"),
        )
        assert finished.code == 0, finished.err
        lines = Path(finished.json()["run_folder"], "metrics.jsonl").read_text().splitlines()
        losses: dict[str, float] = json.loads(lines[0])["train"]
        return losses

    return trained


def test_the_losses_of_the_recipe_are_those_that_are_trained(first_losses: Callable) -> None:
    """F30, F61: focal terms are smaller than cross entropies, each in its own loss only.

    The rate is so small that the weights stay where they are.
    """
    still = ("--set", "optimizer.learning_rate=1e-12")
    plain = first_losses(*still)
    masks = first_losses(*still, "--set", "segmentation_loss.kind=dice_focal")
    classes = first_losses(*still, "--set", "classification_loss.kind=focal")
    assert masks["segmentation"] < plain["segmentation"] - 0.05
    assert classes["task:class"] < plain["task:class"] - 0.05
    assert masks["task:class"] == pytest.approx(plain["task:class"], abs=1e-4)
    assert classes["segmentation"] == pytest.approx(plain["segmentation"], abs=1e-4)


def test_the_thermal_flag_switches_the_guard_on(
    first_losses: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F54: without it there is no guard; this machine may have no sensors, so none is read."""
    asked: list[bool] = []

    def remember(config: ThermalConfig, **_: object) -> None:
        asked.append(config.enabled)

    monkeypatch.setattr(training_run, "build_guard", remember)
    first_losses()
    first_losses("--thermal-guard")
    assert asked == [False, True]
