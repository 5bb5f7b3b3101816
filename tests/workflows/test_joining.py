"""F26: a segmenter and a classifier trained apart, joined through the commands."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segduet.core.files import read_csv
from segduet.io.images import read_label_map
from segduet.training.checkpoint import read_model

#: One shape of network for all; its weights stay where joining puts them.
NETWORK = {
    "num_filters": 4,
    "kernel_size": 3,
    "levels": 2,
    "normalisation": "instance",
}
STEPS = (
    *("--set", "epochs=1", "--set", "steps_per_epoch=2", "--set", "head.hidden=[8]"),
    *("--set", "validation={patches_per_epoch: 0, final: false}"),
    *("--set", "balancing={kind: fixed}", "--precision", "fp32"),
)
STILL = ("--set", "optimizer.learning_rate=1e-12", "--set", "schedule={kind: constant}")

Train = Callable[..., Any]


def network(kind: str, **options: object) -> tuple[str, str]:
    """The `--set` of a network of one kind."""
    return "--set", "network=" + json.dumps({"kind": kind, **NETWORK, **options})


@pytest.fixture(scope="module")
def train(nerves: Path, segduet: Callable[..., Any]) -> Train:
    """`train(name, *arguments)` on the nerve phantoms; how the command ended."""

    def trained(name: str, *arguments: object) -> Any:
        return segduet(
            *("train", "nerves", "-c", "2d", "--recipe", "nerve-hard", *STEPS, *arguments),
            *("--name", name, "--device", "cpu", "--workers", 0, "--data-root", nerves, "--json"),
        )

    return trained


def run_of(finished: Any) -> Path:
    assert finished.code == 0, finished.err
    return Path(finished.json()["run_folder"])


@pytest.fixture(scope="module")
def donors(train: Train) -> dict[str, Path]:
    """Run folders of the two networks trained apart."""
    return {
        answers: run_of(
            train(f"donor-{answers}", *network("quicknat"), "--set", f"answers={answers}")
        )
        for answers in ("segmentation", "classification")
    }


@pytest.fixture
def join(donors: dict[str, Path]) -> tuple[object, ...]:
    """The arguments that name both donors' models."""
    return (
        *("--pretrained", donors["segmentation"] / "model.safetensors"),
        *("--pretrained-classifier", donors["classification"] / "model.safetensors"),
    )


@pytest.fixture
def answer(
    nerves: Path, segduet: Callable[..., Any], tmp_path: Path
) -> Callable[[Path], tuple[list[np.ndarray], np.ndarray]]:
    """A run's masks and class probabilities of all images."""

    def answered(run: Path) -> tuple[list[np.ndarray], np.ndarray]:
        (images,) = (nerves / "nnUNet_raw").glob("*/imagesTr")
        out = tmp_path / run.parent.name
        finished = segduet("predict", run, images, "--out", out, "--device", "cpu", "--no-tta")
        assert finished.code == 0, finished.err
        masks = [read_label_map(path).array for path in sorted(out.glob("*.png"))]
        columns, rows = read_csv(out / "predictions.csv")
        chances = [c for c in columns if c.startswith("nerve:")]
        return masks, np.array([[float(row[c]) for c in chances] for row in rows])

    return answered


def warnings_of(run: Path) -> list[str]:
    found = json.loads((run / "manifest.json").read_text())["warnings"]
    prefix = "not taken from the pretrained weights: "
    assert all(warning.startswith(prefix) for warning in found), found
    return [warning.removeprefix(prefix) for warning in found]


def test_two_networks_joined_by_identity_stitches_answer_as_they_did_apart(
    train: Train, donors: dict[str, Path], join: tuple[object, ...], answer: Callable[..., Any]
) -> None:
    """F25, F26: and the record names what kept its own weights, the stitches and nothing else."""
    soft = network("soft_quickfcn", stitch_init="identity")
    joint = run_of(train("soft", *soft, *STILL, *join))
    weights, _ = read_model(joint / "model.safetensors")
    stitches = [key for key in weights if "stitch" in key]
    assert len(stitches) == NETWORK["levels"] + 1
    assert sorted(warnings_of(joint)) == sorted(stitches)
    masks, chances = answer(joint)
    masks_apart, _ = answer(donors["segmentation"])
    assert len(masks) == 12
    for mine, apart in zip(masks, masks_apart, strict=True):
        np.testing.assert_array_equal(mine, apart)
    _, chances_apart = answer(donors["classification"])
    np.testing.assert_allclose(chances, chances_apart, atol=0.02)
"""PLACEHOLDER"""
