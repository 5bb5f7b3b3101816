"""Stock checkpoints in and out."""

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segduet.core.errors import DataError
from segduet.core.plan import Plan
from segduet.nnunet.checkpoints import read_stock_checkpoint, write_stock_checkpoint

torch = pytest.importorskip("torch")

DATASET = {
    "channel_names": {"0": "CT"},
    "labels": {"background": 0, "a": 1},
    "numTraining": 1,
    "file_ending": ".nii.gz",
}


def stock_like(plan: Plan) -> dict[str, Any]:
    """What nnUNetTrainer.save_checkpoint of nnunetv2 2.8 puts into a file."""
    return {
        "network_weights": {"encoder.w": torch.arange(6.0).reshape(2, 3)},
        "optimizer_state": {"state": {}, "param_groups": [{"lr": 0.01}]},
        "grad_scaler_state": None,
        "logging": {"mean_fg_dice": [np.float32(0.5), np.float64(0.25)], "lrs": [0.01]},
        "_best_ema": np.float64(0.3),
        "current_epoch": 3,
        "init_args": {
            "plans": plan.to_json(),
            "configuration": "3d_fullres",
            "fold": 0,
            "dataset_json": DATASET,
            "device": torch.device("cpu"),
        },
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": (0, 1, 2),
    }


def test_a_stock_checkpoint_is_read(tmp_path: Path, toy_plan: Plan) -> None:
    """B11."""
    torch.save(stock_like(toy_plan), tmp_path / "c.pth")
    found = read_stock_checkpoint(tmp_path / "c.pth")
    assert found.weights["encoder.w"].tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
    assert (found.trainer_name, found.configuration) == ("nnUNetTrainer", "3d_fullres")
    assert found.mirror_axes == (0, 1, 2)
    assert Plan.model_validate(found.plans) == toy_plan
    assert found.dataset_json == DATASET


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_wrappers_leave_the_names_of_weights(tmp_path: Path, toy_plan: Plan, prefix: str) -> None:
    content = stock_like(toy_plan)
    content["network_weights"] = {f"{prefix}encoder.w": torch.ones(1)}
    torch.save(content, tmp_path / "c.pth")
    assert list(read_stock_checkpoint(tmp_path / "c.pth").weights) == ["encoder.w"]


class Malicious:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return (os.mkdir, (str(self.target),))


def test_a_malicious_checkpoint_is_refused_and_nothing_runs(tmp_path: Path, toy_plan: Plan) -> None:
    """F52."""
    evil = stock_like(toy_plan) | {"logging": Malicious(tmp_path / "made")}
    torch.save(evil, tmp_path / "c.pth")
    with pytest.raises(DataError, match=r"c\.pth.*no plain checkpoint") as refused:
        read_stock_checkpoint(tmp_path / "c.pth")
    assert "weights_only" not in str(refused.value), "torch advises to load it all the same"
    assert not (tmp_path / "made").exists()


def test_foreign_and_damaged_files_are_refused(tmp_path: Path, toy_plan: Plan) -> None:
    """F52."""
    path = tmp_path / "c.pth"
    torch.save(stock_like(toy_plan), path)
    whole = path.read_bytes()
    for content in (b"", b"hello", whole[: len(whole) // 2], pickle.dumps({"a": 1}, protocol=2)):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"c\.pth"):
            read_stock_checkpoint(path)
    for other in ({"state_dict": {}}, [1, 2], torch.ones(2)):
        torch.save(other, path)
        with pytest.raises(DataError, match=r"c\.pth"):
            read_stock_checkpoint(path)
    with pytest.raises(DataError, match="no such file"):
        read_stock_checkpoint(tmp_path / "gone.pth")


def test_what_we_write_we_read(tmp_path: Path, toy_plan: Plan) -> None:
    path = tmp_path / "fold_0" / "checkpoint_final.pth"
    weights = {"a": torch.ones(2, requires_grad=True)}
    write_stock_checkpoint(
        path,
        weights=weights,
        plans=toy_plan.to_json(),
        dataset_json=DATASET,
        configuration="3d_fullres",
        fold=0,
        mirror_axes=(0, 2),
    )
    found = read_stock_checkpoint(path)
    assert found.weights["a"].tolist() == [1.0, 1.0]
    assert not found.weights["a"].requires_grad
    assert found.mirror_axes == (0, 2)
    assert list(path.parent.iterdir()) == [path]


def test_stock_nnunet_predicts_with_what_we_write(tmp_path: Path, toy_plan: Plan) -> None:
    """B11: the stock predictor loads the folder and gives the network's own logits."""
    predict = pytest.importorskip("nnunetv2.inference.predict_from_raw_data")
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    architecture = toy_plan.configuration("3d_fullres").architecture
    network = get_network_from_plans(
        architecture.network_class_name,
        architecture.arch_kwargs,
        list(architecture.kw_requires_import),
        1,
        2,
        deep_supervision=False,
    ).eval()
    folder = tmp_path / "nnUNetTrainer__toyPlans__3d_fullres"
    write_stock_checkpoint(
        folder / "fold_0" / "checkpoint_final.pth",
        weights=network.state_dict(),
        plans=toy_plan.to_json(),
        dataset_json=DATASET,
        configuration="3d_fullres",
        fold=0,
    )
    from segduet.core.description import DatasetDescription
    from segduet.core.files import write_json

    write_json(folder / "plans.json", toy_plan.to_json())
    DatasetDescription.model_validate(DATASET).write(folder / "dataset.json")
    predictor = predict.nnUNetPredictor(
        device=torch.device("cpu"), use_mirroring=True, allow_tqdm=False, use_gaussian=False
    )
    predictor.initialize_from_trained_model_folder(str(folder), None)
    image = torch.randn(1, 8, 16, 16)
    with torch.inference_mode():
        expected = network(image[None])[0]
    found = predictor.predict_logits_from_preprocessed_data(image)
    torch.testing.assert_close(found.float(), expected, rtol=1e-2, atol=1e-2)
