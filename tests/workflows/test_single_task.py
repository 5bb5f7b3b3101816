"""F95: the single-task baselines, through the commands."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from segduet.training.checkpoint import read_model

#: A rate so small that the weights at the end are those at the start.
STILL = ("--set", "optimizer.learning_rate=1e-12", "--set", "averaging={kind: none}")

Weights = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def train(
    road: Any,
    segduet: Callable[..., Any],
    tiny_training: tuple[str, ...],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., Path]:
    """Trains on a copy of the road: `train(name, *arguments)` gives the run folder."""
    mine = road.copy(tmp_path_factory.mktemp("single") / "road")

    def trained(name: str, *arguments: str) -> Path:
        finished = segduet(
            *("train", "tiny", *tiny_training, "--set", "validation.final=false"),
            *("--name", name, *arguments, "--data-root", mine.data, "--json"),
        )
        assert finished.code == 0, finished.err
        return Path(finished.json()["run_folder"])

    return trained


def weights_of(run: Path) -> Weights:
    return read_model(run / "model.safetensors")[0]


def parts_of(weights: Weights) -> set[str]:
    return {key.split(".")[0] for key in weights}


def encoder_of(run: Path) -> Weights:
    return {k: v for k, v in weights_of(run).items() if k.startswith("encoder.")}


def is_same(first: Weights, second: Weights) -> bool:
    """Whether two encoders agree, up to what `STILL` moves."""
    assert first.keys() == second.keys()
    return all(torch.allclose(v, second[k], rtol=0, atol=1e-9) for k, v in first.items())


def test_segmentation_alone_has_no_heads_and_answers_no_class(
    train: Callable[..., Path], road: Any, segduet: Callable[..., Any], tmp_path: Path
) -> None:
    run = train("masks", "--recipe", "segmentation-only")
    assert parts_of(weights_of(road.run)) == {"encoder", "decoder", "heads"}
    assert parts_of(weights_of(run)) == {"encoder", "decoder"}
    history = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert not [key for line in history for key in line["train"] if key.startswith("task:")]
    finished = segduet("predict", run, road.raw / "imagesTr", "--out", tmp_path, "--no-tta")
    assert finished.code == 0, finished.err
    with (tmp_path / "predictions.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["case", "status", "message", "seconds"]
    assert {row["status"] for row in rows} == {"ok"}
    assert {p.name for p in tmp_path.glob("*.nii.gz")} == {f"c{i}.nii.gz" for i in range(8)}


def test_classification_alone_has_no_decoder_and_draws_no_mask(
    train: Callable[..., Path], road: Any, segduet: Callable[..., Any], tmp_path: Path
) -> None:
    run = train("classes", "--recipe", "classification-only", "--set", "head.stages=[0, 1]")
    assert parts_of(weights_of(run)) == {"encoder", "heads"}
    history = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert all(line["train"]["segmentation"] == 0 < line["train"]["task:class"] for line in history)
    finished = segduet("predict", run, road.raw / "imagesTr", "--out", tmp_path, "--no-tta")
    assert finished.code == 0, finished.err
    assert list(tmp_path.glob("*.nii.gz")) == []
    with (tmp_path / "predictions.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 8
    assert all(float(r["class:dark"]) + float(r["class:bright"]) == pytest.approx(1) for r in rows)


def test_under_one_seed_the_baselines_start_where_the_joint_network_starts(
    train: Callable[..., Path],
) -> None:
    """F95, F58: a pair differs in its tasks, not in its luck."""
    gem = ("--set", "head={kind: gem, hidden: [8]}")
    joint = encoder_of(train("joint", *STILL))
    masks = encoder_of(train("start-masks", *STILL, "--set", "answers=segmentation"))
    classes = encoder_of(train("start-classes", *STILL, *gem, "--set", "answers=classification"))
    other = encoder_of(train("other-seed", *STILL, "--set", "seed=1"))
    assert is_same(joint, masks)
    assert is_same(joint, classes)
    assert not is_same(joint, other)
