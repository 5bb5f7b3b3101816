"""F26: a segmenter and a classifier trained apart, joined through the commands."""

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
    *("--set", "epochs=1", "--set", "head.hidden=[8]"),
    *("--set", "validation={patches_per_epoch: 0, final: false}"),
    *("--set", "balancing={kind: fixed}", "--precision", "fp32"),
)
RATES = {"segmentation": 0.01, "classification": 0.002}
LEARNING = ("--set", "steps_per_epoch=40", "--set", "sampling.foreground_share=1")
STILL = ("--set", "optimizer.learning_rate=1e-12", "--set", "steps_per_epoch=1")

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
    runs = {}
    for answers, rate in RATES.items():
        settings = ("--set", f"answers={answers}", "--set", f"optimizer.learning_rate={rate}")
        trained = train(f"donor-{answers}", *network("quicknat"), *LEARNING, *settings)
        runs[answers] = run_of(trained)
    return runs


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
    assert 0.01 < np.mean(masks) < 0.2  # nerves are drawn
    for mine, apart in zip(masks, masks_apart, strict=True):
        np.testing.assert_array_equal(mine, apart)
    classifier, _ = read_model(donors["classification"] / "model.safetensors")
    for key, weight in classifier.items():
        mine = weights[key.replace("encoder.", "encoder.for_cases.", 1)]
        np.testing.assert_allclose(mine, weight, rtol=0, atol=1e-9)
    _, chances_apart = answer(donors["classification"])
    assert np.ptp(chances_apart, axis=0).max() > 1e-4  # little, as instances are normalised
    np.testing.assert_allclose(chances, chances_apart, atol=1e-6)


def test_with_other_stitches_they_share_at_once(
    train: Train, donors: dict[str, Path], join: tuple[object, ...], answer: Callable[..., Any]
) -> None:
    """F25: the switch acts on weights that are the same in all else."""
    soft = network("soft_quickfcn", stitch_init="near_identity")
    masks, chances = answer(run_of(train("stitched", *soft, *STILL, *join)))
    masks_apart, _ = answer(donors["segmentation"])
    _, chances_apart = answer(donors["classification"])
    assert any((mine != apart).any() for mine, apart in zip(masks, masks_apart, strict=True))
    assert np.abs(chances - chances_apart).max() > 2e-5


@pytest.mark.parametrize("donor", ["segmentation", "classification"])
def test_a_shared_encoder_comes_from_the_named_donor(
    train: Train, donors: dict[str, Path], join: tuple[object, ...], donor: str
) -> None:
    """F24, F26: the other encoder is named key by key, and nothing else is."""
    name = f"hard-{donor}"
    joint = run_of(train(name, *network("quicknat"), *STILL, *join, "--shared-encoder-from", donor))
    weights, _ = read_model(joint / "model.safetensors")
    given, _ = read_model(donors[donor] / "model.safetensors")
    encoder = [key for key in weights if key.startswith("encoder.")]
    for key in encoder:
        np.testing.assert_allclose(weights[key], given[key], rtol=0, atol=1e-9)
    (other,) = donors.keys() - {donor}
    assert sorted(warnings_of(joint)) == sorted(f"{other}: {key}" for key in encoder)


@pytest.mark.parametrize(
    ("kind", "arguments", "words"),
    [
        ("quicknat", ("--pretrained-classifier", "{classification}"), ("--pretrained (a",)),
        ("quicknat", ("--shared-encoder-from", "segmentation"), ("without its partners",)),
        (
            "quicknat",
            ("--pretrained", "{segmentation}", "--shared-encoder-from", "segmentation"),
            ("without its partners", "to be joined"),
        ),
        (
            "quicknat",
            ("--pretrained", "{segmentation}", "--pretrained-classifier", "{classification}"),
            ("shared_encoder_from", "one encoder for both"),
        ),
        (
            "soft_quickfcn",
            (
                *("--pretrained", "{segmentation}", "--pretrained-classifier", "{classification}"),
                *("--shared-encoder-from", "classification"),
            ),
            ("shared_encoder_from", "each column has its own"),
        ),
        (
            "soft_quickfcn",
            ("--pretrained", "{segmentation}", "--pretrained-classifier", "nowhere.safetensors"),
            ("nowhere.safetensors",),
        ),
    ],
)
def test_what_cannot_be_joined_is_refused_in_one_message(
    train: Train, donors: dict[str, Path], kind: str, arguments: tuple[str, ...], words: tuple[str]
) -> None:
    files = {name: run / "model.safetensors" for name, run in donors.items()}
    refused = train("refused", *network(kind), *(part.format(**files) for part in arguments))
    assert refused.code == 2
    assert refused.out == ""
    assert len(refused.err.splitlines()) == 1
    assert refused.err.startswith("error: ")
    assert [word for word in words if word not in refused.err] == []


def test_donors_of_another_width_are_refused(train: Train, join: tuple[object, ...]) -> None:
    """F26, bad input: only biases and single numbers of theirs would fit."""
    wider = (
        "--set",
        "network=" + json.dumps({"kind": "soft_quickfcn", **NETWORK, "num_filters": 6}),
    )
    refused = train("refused", *wider, *join)
    assert refused.code == 2
    assert len(refused.err.splitlines()) == 1
    assert "segmentation weights: found " in refused.err
    assert "none of which fits" in refused.err
