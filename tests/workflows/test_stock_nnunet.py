"""B11: stock nnU-Net predicts with our models, we with its, and it finds and runs our trainer."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
import torch
from safetensors.torch import load_file

import segduet.nnunet_shim
from segduet.core.errors import RequestError
from segduet.core.plan import PlanSection
from segduet.core.tasks import TaskSpec

SHIM = Path(next(iter(segduet.nnunet_shim.__path__)))


def voxels(path: Path) -> np.ndarray:
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))


def agreement(a: Path, b: Path, cases: list[str]) -> float:
    """Share of voxels with the same label, over all cases."""
    pairs = [(voxels(a / f"{c}.nii.gz"), voxels(b / f"{c}.nii.gz")) for c in cases]
    same = sum(np.count_nonzero(x == y) for x, y in pairs)
    return same / sum(x.size for x, _ in pairs)


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "predictions.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


CASES = [f"c{i}" for i in range(8)]


@pytest.mark.parametrize("mirrored", [True, False])
def test_the_stock_predictor_gives_our_masks(
    *,
    mirrored: bool,
    road: Any,
    tmp_path: Path,
    segduet: Callable,
    predict_with_nnunet: Callable,
) -> None:
    """F63, F66: from the model folder as it lies, 99.9 % of the voxels (nnU-Net sums in fp16)."""
    images, ours = road.raw / "imagesTr", tmp_path / "ours"
    theirs = predict_with_nnunet(road.model, images, tmp_path / "theirs", mirrored=mirrored)
    tta = () if mirrored else ("--no-tta",)
    assert segduet("predict", road.model, images, "--out", ours, *tta).code == 0
    assert agreement(ours, theirs, CASES) >= 0.999
    assert any(voxels(ours / f"{case}.nii.gz").any() for case in CASES)
    for case in CASES:
        mine = SimpleITK.ReadImage(str(ours / f"{case}.nii.gz"))
        stock = SimpleITK.ReadImage(str(theirs / f"{case}.nii.gz"))
        assert mine.GetOrigin() == pytest.approx(stock.GetOrigin())
        assert mine.GetSpacing() == pytest.approx(stock.GetSpacing())


def test_a_stock_model_segments_and_classifies_nothing(
    stock_training: Any, tmp_path: Path, segduet: Callable, predict_with_nnunet: Callable
) -> None:
    """Masks as nnU-Net's own; a table without a class; and they can be scored."""
    mine = stock_training.road
    images, ours = mine.raw / "imagesTr", tmp_path / "ours"
    finished = segduet("predict", stock_training.model, images, "--out", ours)
    assert finished.code == 0, finished.err
    theirs = predict_with_nnunet(stock_training.model, images, tmp_path / "theirs", mirrored=True)
    assert agreement(ours, theirs, CASES) >= 0.999
    assert [set(row) for row in table(ours)] == [{"case", "status", "message", "seconds"}] * 8
    assert [row["case"] for row in table(ours)] == CASES


def test_a_stock_model_that_was_not_trained_mirrored_is_not_mirrored(
    road: Any, tmp_path: Path, segduet: Callable
) -> None:
    """nnU-Net writes the axes into the checkpoint (nnUNetTrainerNoMirroring: none)."""
    mine = road.copy(tmp_path / "road")
    (mine.run / "model.safetensors").unlink()
    checkpoint = mine.run / "checkpoint_final.pth"
    content = torch.load(checkpoint, weights_only=False)
    assert content["inference_allowed_mirroring_axes"] == (0, 1, 2)
    torch.save({**content, "inference_allowed_mirroring_axes": None}, checkpoint)
    out = tmp_path / "out"
    assert segduet("predict", mine.model, mine.raw / "imagesTr", "--out", out).code == 0
    assert agreement(out, road.predictions, CASES) == 1  # the road was predicted with --no-tta


def test_masks_of_a_stock_model_can_be_scored(
    stock_training: Any, tmp_path: Path, segduet: Callable
) -> None:
    """The class figures are left out, not made up."""
    mine, out = stock_training.road, tmp_path / "out"
    images = mine.raw / "imagesTr"
    assert segduet("predict", stock_training.model, images, "--out", out, "--no-tta").code == 0
    finished = segduet(
        *("evaluate", "--reference", "tiny", "--predictions", out, "--out", tmp_path / "scores"),
        *("--data-root", mine.data, "--json"),
    )
    assert finished.code == 0, finished.err
    (warning,) = json.loads((tmp_path / "scores" / "manifest.json").read_text())["warnings"]
    assert warning.startswith("'class' was not scored")
    assert finished.json()["classification"] == {}
    assert finished.json()["segmentation"]["label_1"]["dsc"]["n"] == 8


def test_stock_weights_start_a_joint_training(
    stock_training: Any, segduet: Callable, tiny_training: tuple[str, ...]
) -> None:
    """Every weight of encoder and decoder arrives; what has none to take is told by name.

    A rate that moves nothing leaves the weights as they were before the first step.
    """
    mine = stock_training.road
    checkpoint = stock_training.model / "fold_0" / "checkpoint_final.pth"
    finished = segduet(
        *("train", "tiny", *tiny_training, "--name", "warm", "--pretrained", checkpoint),
        *("--set", "optimizer.learning_rate=1e-20", "--data-root", mine.data, "--json"),
    )
    run = Path(finished.json()["run_folder"])
    report = json.loads((run / "run.json").read_text())["warm_start"]
    warnings = json.loads((run / "manifest.json").read_text())["warnings"]
    trained = load_file(run / "model.safetensors")
    stock = torch.load(checkpoint, weights_only=False)["network_weights"]
    assert report["loaded"] == len(stock)
    assert report["missing"]
    assert all(key.startswith("heads.") for key in report["missing"])
    assert (report["unexpected"], report["wrong_shape"]) == ([], [])
    assert [w.split(": ")[1] for w in warnings] == report["missing"]
    shared = [key for key in trained if not key.startswith("heads.")]
    assert len(shared) > 10
    for key in shared:
        torch.testing.assert_close(trained[key], stock[key], rtol=0, atol=1e-7)


def test_warm_start_notes_are_shown_to_a_person(
    stock_training: Any, segduet: Callable, tiny_training: tuple[str, ...]
) -> None:
    mine = stock_training.road
    checkpoint = stock_training.model / "fold_0" / "checkpoint_final.pth"
    finished = segduet(
        *("train", "tiny", *tiny_training, "--name", "warm2", "--pretrained", checkpoint),
        *("--data-root", mine.data),
    )
    assert "note: not taken from the pretrained weights: heads." in finished.out


@pytest.mark.usefixtures("any_torchvision")
def test_nnunet_finds_our_trainer_through_the_shim(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole search of `nnUNetv2_train -tr`, nnU-Net's own trainers first."""
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    from segduet.workflows.nnunet_trainer import nnUNetTrainerSegduet

    monkeypatch.setenv("nnUNet_extTrainer", str(SHIM))
    found = recursive_find_trainer_class_by_name("nnUNetTrainerSegduet")
    assert found is nnUNetTrainerSegduet
    monkeypatch.delenv("nnUNet_extTrainer")
    with pytest.raises(RuntimeError, match="Could not find requested nnunet trainer"):
        recursive_find_trainer_class_by_name("nnUNetTrainerSegduet")


def test_our_trainer_refuses_a_regression_whose_scale_nnunet_could_not_keep() -> None:
    """B02, B11."""
    from segduet.workflows.nnunet_trainer import _refuse_regression

    tasks = (TaskSpec(name="size", kind="regression", unit="mm"),)
    with pytest.raises(RequestError, match=r"'size'.*a regression.*segduet train"):
        _refuse_regression(PlanSection(tasks=tasks))


def test_our_trainer_learns_both_tasks_in_nnunets_loop(joint_stock_training: Any) -> None:
    """One pass through the encoder for each of two training steps and one validation step; the
    class loss moves the heads, the segmentation loss its last layers, both the encoder."""
    after = joint_stock_training.trainer.network.state_dict()
    changed = {k for k, v in joint_stock_training.before.items() if not torch.equal(v, after[k])}
    weights = {k for k in after if k.endswith("weight")}
    heads = {k for k in weights if k.startswith("heads.")}
    assert joint_stock_training.num_encodings == 3
    assert heads
    assert heads <= changed
    # the last one has the full resolution; nnU-Net leaves the first out of its loss
    assert max(k for k in weights if "seg_layers" in k) in changed
    assert {k for k in weights if k.startswith("encoder.")} <= changed
    assert all(torch.isfinite(v).all() for v in after.values())


def test_the_class_loss_alone_moves_the_heads_and_the_encoder(
    joint_stock_training: Any,
) -> None:
    """Without the segmentation loss its last layers get no gradient; heads and encoder do."""
    trainer = joint_stock_training.trainer
    batch = next(trainer.dataloader_train)
    segmentation_loss = trainer.loss
    trainer.loss = lambda outputs, _targets: 0.0 * sum(o.sum() for o in outputs)
    try:
        trainer.train_step(batch)
    finally:
        trainer.loss = segmentation_loss
    moved = {n: float(p.grad.abs().sum()) for n, p in trainer.network.named_parameters()}
    assert all(moved[n] > 0 for n in moved if n.startswith("heads.") and n.endswith("weight"))
    assert any(moved[n] > 0 for n in moved if n.startswith("encoder."))
    assert all(moved[n] == 0 for n in moved if "seg_layers" in n)


def test_what_nnunet_saved_of_our_trainer_fits_a_fresh_network(joint_stock_training: Any) -> None:
    """Strictly, every key; the trainer's name is in the file, by which nnU-Net finds it again."""
    trainer = joint_stock_training.trainer
    saved = torch.load(
        joint_stock_training.model / "fold_0" / "checkpoint_final.pth", weights_only=False
    )
    fresh = trainer.build_network_architecture(
        trainer.plans_manager, trainer.configuration_manager, 1, 2, enable_deep_supervision=True
    )
    fresh.load_state_dict(saved["network_weights"], strict=True)
    assert saved["trainer_name"] == "nnUNetTrainerSegduet"
    after = fresh.state_dict()
    assert all(torch.equal(v, saved["network_weights"][k]) for k, v in after.items())


@pytest.mark.usefixtures("any_torchvision")
def test_a_model_of_our_trainer_answers_both_ways(
    *,
    joint_stock_training: Any,
    tmp_path: Path,
    segduet: Callable,
    predict_with_nnunet: Callable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`segduet predict` on what `nnUNetv2_train` left: masks as nnU-Net's, and the classes too."""
    model = joint_stock_training.model
    images, ours = joint_stock_training.road.raw / "imagesTr", tmp_path / "ours"
    monkeypatch.setenv("nnUNet_extTrainer", str(SHIM))
    theirs = predict_with_nnunet(model, images, tmp_path / "theirs", mirrored=False)
    finished = segduet("predict", model, images, "--out", ours, "--no-tta")
    assert finished.code == 0, finished.err
    # after two steps many logits are nearly equal, so that nnU-Net's fp16 decides a few otherwise
    assert agreement(ours, theirs, CASES) >= 0.99
    for row in table(ours):
        odds = [float(row[f"class:{name}"]) for name in ("bright", "dark")]
        assert sum(odds) == pytest.approx(1)
        assert odds[0] != odds[1]
