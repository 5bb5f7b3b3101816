"""Stock nnU-Net trains on what we prepared, and we read what it prepared (B11)."""

from pathlib import Path

import numpy as np
import pytest

from segduet.core.description import DatasetDescription
from segduet.core.files import write_json
from segduet.core.folders import DataRoot, DatasetFolders
from segduet.core.plan import Plan
from segduet.nnunet.environment import nnunet_environment
from segduet.nnunet.preprocess import preprocess_dataset
from segduet.nnunet.store import PreparedStore
from segduet.preparation.prepare import prepare_case

torch = pytest.importorskip("torch")
pytest.importorskip("nnunetv2")

Toy = tuple[DataRoot, DatasetFolders]


def test_the_stock_trainer_trains_on_our_prepared_cases(
    toy: Toy, toy_plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B11: nnUNetTrainer, its own data loading and augmentation, 2 iterations and a validation."""
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    root, folders = toy
    preprocess_dataset(folders, toy_plan, "3d_fullres", prepare=prepare_case)
    split = {"train": ["a1", "a2", "a3"], "val": ["v1"]}
    write_json(folders.splits_file, [split])
    description = DatasetDescription.read(folders.raw / "dataset.json")
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    with nnunet_environment(root):
        trainer = nnUNetTrainer(
            plans={**toy_plan.to_json(), "continue_training": False},
            configuration="3d_fullres",
            fold=0,
            dataset_json=description.model_dump(by_alias=True, mode="json", exclude_none=True),
            device=torch.device("cpu"),
        )
        trainer.initialize()
        training, validation = trainer.get_dataloaders()
        trainer.on_train_epoch_start()
        losses = [float(trainer.train_step(next(training))["loss"]) for _ in range(2)]
        trainer.network.eval()
        counts = trainer.validation_step(next(validation))
    assert np.isfinite(losses).all()
    # every patch of the validation case was scored for both regions
    assert len(counts["tp_hard"]) == 2
    assert (counts["tp_hard"] + counts["fn_hard"]).min() > 0


def test_cases_that_stock_nnunet_prepared_are_adopted(toy: Toy, toy_plan: Plan) -> None:
    """B11: image, labels and placement are ours within F08's tolerance."""
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    _, folders = toy
    configuration = toy_plan.configuration("3d_fullres")
    ours = preprocess_dataset(folders, toy_plan, "3d_fullres", prepare=prepare_case, cases=["a2"])
    stock_folders = DataRoot(
        raw=folders.raw.parent, preprocessed=folders.preprocessed.parent / "s", results=Path("r")
    ).new_dataset(folders.name)
    theirs = PreparedStore.of(stock_folders, configuration)
    theirs.folder.mkdir(parents=True)
    manager = PlansManager(toy_plan.to_json())
    DefaultPreprocessor(verbose=False).run_case_save(
        str(theirs.folder / "a2"),
        [str(folders.images / "a2_0000.nii.gz")],
        str(folders.masks / "a2.nii.gz"),
        manager,
        manager.get_configuration("3d_fullres"),
        DatasetDescription.read(folders.raw / "dataset.json").model_dump(mode="json"),
    )
    labels = DatasetDescription.read(folders.raw / "dataset.json").label_scheme
    assert theirs.adopt_stock(toy_plan, labels) == ("a2",)
    mine, adopted = ours.open("a2"), theirs.open("a2")
    np.testing.assert_allclose(adopted.image[:], mine.image[:], rtol=0, atol=1e-4)
    np.testing.assert_array_equal(adopted.label_map[:], mine.label_map[:])
    assert adopted.region_voxels == mine.region_voxels
    assert adopted.placement == mine.placement
