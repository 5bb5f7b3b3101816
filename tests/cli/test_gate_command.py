"""B14: what `segduet gate` asks of a candidate is what its options say."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from segduet.core.files import read_json

Gate = Callable[..., Any]


@pytest.fixture
def gate(road: Any, segduet: Callable[..., Any], tmp_path: Path) -> Gate:
    """`gate(candidate, *options, cases=...)` against the road's model."""

    def run(candidate: Path, *options: object, cases: object = "tiny") -> Any:
        return segduet(
            *("gate", road.model, candidate, "--cases", cases, "--data-root", road.data),
            *("--out", tmp_path / "gate", "--json", *options),
        )

    return run


def turned_round(model: Path, target: Path) -> Path:
    """A model that says the opposite about every case, and segments as before."""
    shutil.copytree(model, target, ignore=shutil.ignore_patterns(".segduet", "validation"))
    weights = target / "fold_0" / "model.safetensors"
    with safe_open(weights, framework="numpy") as stream:
        header = stream.metadata()
    tensors = load_file(weights)
    (last,) = {
        name.rpartition(".")[0]
        for name, t in tensors.items()
        if name.startswith("heads.") and t.ndim == 2 and len(t) == 2
    }
    for part in ("weight", "bias"):
        tensors[f"{last}.{part}"] = tensors[f"{last}.{part}"].flip(0).contiguous()
    save_file(tensors, weights, header)
    return target


def test_the_engine_and_its_precision_are_the_candidates(
    road: Any, gate: Gate, tmp_path: Path
) -> None:
    """The reference keeps answering in fp32, by the engine that suits the machine."""
    told = {}
    for name, options in {
        "left out": (),
        "torch": ("--engine", "torch"),
        "half": ("--engine", "torch", "--precision", "bf16"),
    }.items():
        finished = gate(road.model, *options, "--min-dice", 0.5, "--max-dsc-loss", 0.5)
        assert finished.code == 0, finished.err
        told[name] = read_json(tmp_path / "gate" / "manifest.json")["outcome"]["engines"]
    assert [e["reference"] for e in told.values()] == [["openvino cpu fp32"]] * 3
    assert told["left out"]["candidate"] == ["openvino cpu fp32"]
    assert told["torch"]["candidate"] == ["torch cpu fp32"]
    assert told["half"]["candidate"] == ["torch cpu bf16"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--precision", "int8"), ("--precision int8", "without an 8-bit network")),
        (("--engine", "torch", "--precision", "int8"), ("--engine torch", "int8")),
        (("--engine", "tensorrt"), ("--engine tensorrt",)),
    ],
)
def test_a_form_that_the_candidate_does_not_have_is_refused(
    *,
    options: tuple[str, ...],
    words: tuple[str, ...],
    road: Any,
    gate: Gate,
    refused: Callable[..., str],
    tmp_path: Path,
) -> None:
    refused(gate(road.model, *options), *words)
    assert not (tmp_path / "gate").exists()


def test_agreement_counts_where_nobody_knows_the_class(
    road: Any, gate: Gate, tmp_path: Path
) -> None:
    """Images alone, and a candidate that says the opposite: refused unless that is allowed."""
    images = tmp_path / "images"
    images.mkdir()
    for case in ("c6", "c7"):
        shutil.copy(road.raw / "imagesTr" / f"{case}_0000.nii.gz", images)
    opposite = turned_round(road.model, tmp_path / "data" / road.model.name)
    asked = {"cases": images}
    finished = gate(opposite, "--engine", "torch", **asked)
    assert finished.code == 2
    report = read_json(tmp_path / "gate" / "gate.json")
    assert report["tasks"][0]["agreement"]["value"] == 0
    assert report["bounds"]["min_agreement"] == 0.98
    assert len(report["flips"]) == 2
    assert gate(opposite, "--engine", "torch", "--min-agreement", 0, **asked).code == 0
