"""A folder of trained folds."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from segduet.core.errors import DataError, RequestError
from segduet.core.files import write_json
from segduet.core.plan import Plan
from segduet.nnunet.checkpoints import write_stock_checkpoint
from segduet.nnunet.model_folder import StockModelFolder

DATASET: dict[str, Any] = {
    "channel_names": {"0": "CT"},
    "labels": {"background": 0, "a": 1},
    "numTraining": 1,
    "file_ending": ".nii.gz",
}


@pytest.fixture
def folder(tmp_path: Path, toy_plan: Plan) -> Path:
    top = tmp_path / "nnUNetTrainer__toyPlans__3d_fullres"
    write_json(top / "plans.json", toy_plan.to_json())
    write_json(top / "dataset.json", DATASET)
    for name in ("fold_1/checkpoint_final.pth", "fold_all/checkpoint_final.pth"):
        (top / name).parent.mkdir()
        (top / name).touch()
    (top / "fold_0").mkdir()
    (top / "fold_0" / "checkpoint_best.pth").touch()
    return top


def test_a_folder_tells_its_plan_configuration_and_finished_folds(folder: Path) -> None:
    """B11."""
    found = StockModelFolder.open(folder)
    assert found.plan.plans_name == "toyPlans"
    assert found.description.num_channels == 1
    assert found.configuration_name == "3d_fullres"
    assert list(found.checkpoints) == ["1", "all"]
    assert found.checkpoint("1") == folder / "fold_1" / "checkpoint_final.pth"
    best = StockModelFolder.open(folder, "checkpoint_best.pth")
    assert list(best.checkpoints) == ["0"]
    with pytest.raises(RequestError, match=r"fold 0.*\['1', 'all'\]"):
        found.checkpoint("0")


def test_a_renamed_folder_asks_its_checkpoint(folder: Path, toy_plan: Plan) -> None:
    pytest.importorskip("torch")
    write_stock_checkpoint(
        folder / "fold_1" / "checkpoint_final.pth",
        weights={},
        plans=toy_plan.to_json(),
        dataset_json=DATASET,
        configuration="3d_fullres",
        fold=1,
    )
    renamed = folder.rename(folder.with_name("my favourite"))
    assert StockModelFolder.open(renamed).configuration_name == "3d_fullres"
    for fold in ("fold_1", "fold_all"):
        shutil.rmtree(renamed / fold)
    with pytest.raises(RequestError, match="'my favourite' and no finished checkpoint"):
        StockModelFolder.open(renamed)


@pytest.mark.parametrize("name", ["plans.json", "dataset.json"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(DataError, match=name):
        StockModelFolder.open(folder)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="nowhere"):
        StockModelFolder.open(tmp_path / "nowhere")
