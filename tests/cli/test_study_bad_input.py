"""B22, F87: a study that cannot be run is refused with one message, before anything runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tiny_studies import DATASET, write_study


@pytest.fixture
def refuses(
    tmp_path: Path,
    segduet: Callable[..., Any],
    refused: Callable[..., str],
    contents: Callable[[Path], dict[str, str]],
) -> Callable[..., None]:
    """Writes a study and checks that a command refuses it and leaves everything as it was."""

    def check(command: str, settings: dict, words: tuple[str, ...]) -> None:
        study = write_study(tmp_path, **settings)
        (tmp_path / "Default.yaml").write_text("name: mine\n")
        before = contents(tmp_path)
        refused(segduet(command, study), *words)
        assert contents(tmp_path) == before

    return check


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"receipes": ["default"]}, ("STUDY.yaml, receipes", "unknown key", "recipes")),
        ({"dataset": "absent"}, ("dataset 'absent'", "0 matching datasets")),
        ({"folds": [5]}, ("fold 5", "0 to 2")),
        ({"arms": {"a": {"head.hiden": [8]}}}, ("arms.a", "head.hiden", "head.hidden")),
        ({"recipes": ["no-such-recipe"]}, ("no-such-recipe", "neither a named recipe nor a file")),
        ({"recipes": ["default", "Default.yaml"]}, ("two units called", "default")),
        ({"predict": {"inputs": "not-mounted"}}, ("unit 'predict", "not-mounted")),
        ({"train": {"pretrained": "no.pth"}}, ("unit 'train", "no.pth", "Mount or copy")),
    ],
)
def test_what_cannot_be_run_is_refused(
    refuses: Callable[..., None], settings: dict, words: tuple[str, ...]
) -> None:
    refuses("run", settings, words)


def test_a_worker_without_the_data_is_told(
    tmp_path: Path, segduet: Callable[..., Any], refused: Callable[..., str]
) -> None:
    """What every engine runs: one unit, on a machine where a folder is not mounted."""
    study = write_study(tmp_path)
    (tmp_path / "segduet-data" / "nnUNet_preprocessed" / DATASET / "test").rmdir()
    found = refused(segduet("run", study, "--only", "train-default-2d-s0-f0"), "unit 'train-")
    assert "preprocess" in found


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--only", "train-nothing"), ("--only train-nothing", "--list")),
        (("--only", "train-nothing", "--list"), ("--only train-nothing",)),
        (("--list", "--retry-failed"), ("--retry-failed with --list", "Leave one")),
        (("--only", "predict-default-2d-s0"), ("'train-default-2d-s0-f0', which it needs",)),
    ],
)
def test_units_and_options_that_do_not_go_together_are_refused(
    tmp_path: Path,
    segduet: Callable[..., Any],
    refused: Callable[..., str],
    arguments: tuple[str, ...],
    words: tuple[str, ...],
) -> None:
    (tmp_path / "images").mkdir()
    study = write_study(tmp_path, predict={"inputs": "images"})
    refused(segduet("run", study, *arguments), *words)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, ("arms", "found none", "segduet run")),
        ({"arms": {"a": {"epochs": 2}}, "folds": ["all"]}, ("keeps no case",)),
        ({"arms": {"a": {"validation.final": False}}}, ("arms.a", "validation.final false")),
    ],
)
def test_an_ablation_without_arms_or_scores_is_refused(
    refuses: Callable[..., None], settings: dict, words: tuple[str, ...]
) -> None:
    refuses("ablate", settings, words)
