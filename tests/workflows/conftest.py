"""2D phantoms, and a model folder that stock nnU-Net trained beside the one the commands made."""

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from segduet.core.folders import DataRoot
from segduet.dataset.phantoms.layouts import write_nerve_folders
from segduet.dataset.phantoms.ultrasound import NerveUltrasoundConfig
from segduet.nnunet.environment import nnunet_environment

#: Imports timm and with it torchvision, which fails beside a torch of another build ("operator
#: torchvision::nms does not exist") and then takes every search for a trainer down with it.
_PRIMUS = "nnunetv2.training.nnUNetTrainer.primus.primus_trainers"


@pytest.fixture
def any_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets nnU-Net search its trainers whatever torchvision is installed."""
    monkeypatch.setitem(sys.modules, _PRIMUS, ModuleType(_PRIMUS))


@dataclass(frozen=True, slots=True, kw_only=True)
class StockTraining:
    """A training in nnU-Net's own loop, on a copy of the road.

    Attributes:
        road: the copy.
        model: model folder that nnU-Net wrote.
        trainer: nnU-Net's trainer object after the last epoch.
        before: weights before the first step.
        num_encodings: passes through the encoder, in training and in validation steps.
    """

    road: Any
    model: Path
    trainer: Any
    before: dict[str, torch.Tensor]
    num_encodings: int


def train_in_nnunet(road: Any, trainer_class: type[Any], *, iterations: int) -> StockTraining:
    """One epoch of so many iterations and one validation step, by `run_training` itself."""
    plans = json.loads((road.preprocessed / "segduetSmallPlans.json").read_text())
    root = DataRoot.resolve(road.data, {})
    with pytest.MonkeyPatch.context() as patch, nnunet_environment(root):
        patch.setenv("nnUNet_n_proc_DA", "0")
        torch.manual_seed(0)
        trainer = trainer_class(
            plans={**plans, "continue_training": False},
            configuration="3d_fullres",
            fold=0,
            dataset_json=json.loads((road.preprocessed / "dataset.json").read_text()),
            device=torch.device("cpu"),
        )
        trainer.num_epochs = 1
        trainer.num_iterations_per_epoch = iterations
        trainer.num_val_iterations_per_epoch = 1
        trainer.initialize()
        before = {k: v.clone() for k, v in trainer.network.state_dict().items()}
        with counted(trainer.network.encoder) as calls:
            trainer.run_training()
    return StockTraining(
        road=road,
        model=Path(trainer.output_folder_base),
        trainer=trainer,
        before=before,
        num_encodings=len(calls),
    )


@contextlib.contextmanager
def counted(module: torch.nn.Module) -> Iterator[list[int]]:
    """A list that grows by one with every call of the module."""
    calls: list[int] = []
    handle = module.register_forward_hook(lambda *_: calls.append(1))
    try:
        yield calls
    finally:
        handle.remove()


@pytest.fixture(scope="session")
def stock_training(road: Any, tmp_path_factory: pytest.TempPathFactory) -> StockTraining:
    """Two iterations of nnU-Net's own trainer on the cases that we prepared."""
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    mine = road.copy(tmp_path_factory.mktemp("stock") / "road")
    return train_in_nnunet(mine, nnUNetTrainer, iterations=2)


@pytest.fixture(scope="session")
def joint_stock_training(road: Any, tmp_path_factory: pytest.TempPathFactory) -> StockTraining:
    """Two iterations of our trainer in nnU-Net's loop."""
    from segduet.workflows.nnunet_trainer import nnUNetTrainerSegduet

    mine = road.copy(tmp_path_factory.mktemp("joint") / "road")
    return train_in_nnunet(mine, nnUNetTrainerSegduet, iterations=2)


@pytest.fixture
def predict_with_nnunet() -> Callable[..., Path]:
    """Masks by nnU-Net's own predictor, in this process: `(model, images, out, mirrored=...)`."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    def predict(model: Path, images: Path, out: Path, *, mirrored: bool) -> Path:
        out.mkdir()
        predictor = nnUNetPredictor(
            use_mirroring=mirrored, device=torch.device("cpu"), verbose=False, allow_tqdm=False
        )
        predictor.initialize_from_trained_model_folder(str(model), use_folds=("0",))
        predictor.predict_from_files_sequential(str(images), str(out))
        return out

    return predict


@pytest.fixture(scope="session")
def nerves(segduet: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data root with `nerves`: twelve 2D phantoms of four patients, ready to train on.

    Two folds by patient. Tests may train under names of their own and change nothing else.
    """
    folder = tmp_path_factory.mktemp("nerves")
    config = replace(NerveUltrasoundConfig.demo(), shape_yx=(32, 32))
    write_nerve_folders(
        folder / "table", config, num_patients=4, images_per_patient=3, seed=0, workers=1
    )
    for command in (
        ("import", "nerve", folder / "table", "--name", "nerves"),
        ("plan", "nerves", "--planner", "small", "--folds", 2),
        ("preprocess", "nerves", "-c", "2d"),
    ):
        finished = segduet(*command, "--data-root", folder, "--workers", 1)
        assert finished.code == 0, (command, finished.err)
    return folder


@pytest.fixture(scope="session")
def conversions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder for tests that do not mind who converted a model."""
    return tmp_path_factory.mktemp("conversions")
