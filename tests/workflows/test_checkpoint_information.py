"""F94: `segduet info CHECKPOINT` tells epoch, figures and class F1 without unpickling."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from segduet.workflows.checkpoint_information import describe_checkpoint

RUN = {
    "schema_version": 1,
    "dataset": "Dataset501_tiny",
    "plans": "p",
    "configuration": "2d",
    "fold": "0",
    "recipe": {
        "name": "r",
        "epochs": 4,
        "validation": {"full_cases_every": 1, "selection": "best_joint"},
    },
    "seed": 0,
    "epochs_done": 4,
    "seconds": {"wall": 1.0},
}
SCORES = [0.2, 0.6, 0.6, 0.5]
SUMMARY = {
    "schema_version": 1,
    "n_cases": 36,
    "segmentation": {"organ": {"dsc": {"mean": 0.7137, "ci95": [0.61, 0.81], "n": 36}}},
    "classification": {
        "subtype": {
            "macro_f1": {"value": 0.5353, "ci95": [0.43, 0.64], "n": 36},
            "f1_by_class": {
                "rare": {"value": 0.3737, "ci95": [0.1, 0.6], "n": 36},
                "common": {"value": 0.8989, "ci95": None, "n": 36, "reason": "the same"},
            },
        }
    },
    "baselines": {},
    "targets": [],
    "subgroups": {},
    "selected_from": 4,
}


def checkpoint(path: Path, **header: Any) -> Path:
    content = {"format": "segduet-model-2", "epoch": 4, **header}
    save_file({"w": np.zeros(1)}, path, metadata={"segduet": json.dumps(content)})
    return path


@pytest.fixture
def fold(tmp_path: Path) -> Path:
    lines = [
        {"epoch": e, "train": {"loss": 1.0 - e / 10}, "full_case": {"score": s, "n": 36}}
        for e, s in enumerate(SCORES)
    ]
    (tmp_path / "run.json").write_text(json.dumps(RUN))
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "validation").mkdir()
    (tmp_path / "validation" / "summary.json").write_text(json.dumps(SUMMARY))
    checkpoint(tmp_path / "model.safetensors")
    return tmp_path


def test_the_finished_model_is_that_of_the_selected_epoch(fold: Path) -> None:
    """The first of the best, as the training chooses; its own figures, not the last epoch's."""
    told = describe_checkpoint(fold / "model.safetensors")
    assert (told["epoch"], told["epochs_done"]) == (1, 4)
    assert told["metrics"] == {"train/loss": 0.9, "full_case/score": 0.6}
    assert told["validation"]["n_cases"] == 36


def test_other_checkpoints_are_of_their_last_epoch(fold: Path) -> None:
    kept = checkpoint(fold / "model_epoch_0002.safetensors", epoch=2)
    assert describe_checkpoint(kept)["epoch"] == 1
    latest = checkpoint(fold / "checkpoint_latest.safetensors", format="segduet-checkpoint-1")
    told = describe_checkpoint(latest)
    assert (told["epoch"], told["validation"]) == (3, "not measured")
    assert told["metrics"]["full_case/score"] == 0.5


def test_alone_it_says_what_it_knows(tmp_path: Path) -> None:
    told = describe_checkpoint(checkpoint(tmp_path / "model.safetensors"))
    assert (told["epoch"], told["metrics"], told["validation"]) == (3, {}, "not measured")


def test_the_command_prints_class_f1(fold: Path, segduet: Callable) -> None:
    """S2's 'Code to Extract Results', without torch.load."""
    told = segduet("info", fold / "model.safetensors")
    assert told.code == 0, told.err
    assert "4 epochs done, weights of epoch 1" in told.out
    assert "  full_case/score: 0.6000" in told.out
    assert "F1 of subtype rare: 0.374 (95 % CI 0.100 to 0.600, n = 36)" in told.out
    assert "F1 of subtype common: 0.899 (n = 36; no interval: the same)" in told.out
    assert segduet("info", fold / "model.safetensors", "--json").json()["epoch"] == 1
    # of the run folder as well
    assert "F1 of subtype rare: 0.374" in segduet("info", fold).out


def test_no_torch_is_loaded_for_it(fold: Path) -> None:
    code = (
        "import sys; from pathlib import Path; "
        "from segduet.workflows.checkpoint_information import describe_checkpoint; "
        f"describe_checkpoint(Path({str(fold / 'model.safetensors')!r})); "
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_foreign_or_damaged_file_is_refused(fold: Path, segduet: Callable) -> None:
    bad = fold / "bad.safetensors"
    bad.write_bytes(b"\x80\x04pickle")
    for path in (bad, fold / "absent.safetensors"):
        refused = segduet("info", path)
        assert refused.code == 2
        assert refused.err.count("\n") == 1
        assert "expected a model" in refused.err
