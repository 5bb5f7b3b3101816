"""`plan --coarse`: 3d_coarse is prepared, trained and used as any other configuration (F72)."""

import json
from collections.abc import Callable
from typing import Any

from segduet.core.files import write_json
from segduet.nnunet.coarse_plan import with_coarse_configuration


def test_small_images_are_refused_and_leave_the_plan_as_it_was(
    road: Any, segduet: Callable, tmp_path: Any
) -> None:
    mine = road.copy(tmp_path / "road")
    plans = mine.preprocessed / "segduetSmallPlans.json"
    before = plans.read_bytes()
    done = segduet(
        *("plan", "tiny", "--planner", "small", "--coarse", "--workers", 1),
        *("--data-root", mine.data),
    )
    assert done.code == 2
    assert "3200 voxels" in done.err
    assert plans.read_bytes() == before


def test_a_coarse_configuration_is_prepared_trained_and_looks(
    road: Any, segduet: Callable, tiny_training: tuple[str, ...], tmp_path: Any
) -> None:
    """For images of 800 voxels; windows of 4 x 8 x 8 make the fine model one that needs it."""
    mine = road.copy(tmp_path / "road")
    plans = mine.preprocessed / "segduetSmallPlans.json"
    plan = with_coarse_configuration(json.loads(plans.read_text()), num_voxels=800)
    write_json(plans, plan)
    for command, *options in (
        ("preprocess", "tiny", "-c", "3d_coarse", "--workers", 1),
        ("train", "tiny", "-c", "3d_coarse", *tiny_training, "--set", "validation.final=false"),
    ):
        done = segduet(command, *options, "--data-root", mine.data)
        assert done.code == 0, done.err
    coarse = mine.model.with_name(mine.model.name.replace("3d_fullres", "3d_coarse"))
    kept = mine.model / "plans.json"
    fine = json.loads(kept.read_text())
    fine["configurations"]["3d_fullres"]["patch_size"] = [4, 8, 8]
    write_json(kept, fine)
    out = tmp_path / "out"
    done = segduet(
        *("predict", mine.model, mine.raw / "imagesTr", "--out", out, "--mode", "fast"),
        *("--coarse", coarse, "--engine", "torch", "--device", "cpu", "--precision", "fp32"),
    )
    assert done.code == 0, done.err
    outcome = json.loads((out / "manifest.json").read_text())["outcome"]
    assert outcome["failed"] == {}
    assert outcome["shortcuts"]["coarse"] == str(coarse)
    assert len(outcome["regions"]) == 8
    assert "one window" not in json.dumps(outcome["regions"])
