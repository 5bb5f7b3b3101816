"""A tiny prepared dataset: bright blobs to segment, their brightness the class."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from segduet.balancing.registry import build_balancer
from segduet.core.geometry import Geometry
from segduet.core.labels import LabelScheme
from segduet.core.plan import Plan
from segduet.core.prepared import Placement, PreparedCase
from segduet.core.tasks import TaskSpec
from segduet.networks.joint import build_joint_network
from segduet.nnunet.store import PreparedStore
from segduet.training.augmentation import plan_augmentation
from segduet.training.config import Recipe
from segduet.training.devices import choose_compute
from segduet.training.loop import TrainingJob
from segduet.training.objective import build_objective
from segduet.training.samples import PatchDataset, PatchSource

SHAPE = (8, 20, 18)
LABELS = LabelScheme(labels=(("background", (0,)), ("blob", (1,))))
TASK = TaskSpec(name="kind", classes=("dark", "bright"))


def tiny_plan() -> Plan:
    """Two stages of 4 and 8 features, patch 8 x 16 x 16, batch 2."""
    three = "torch.nn.modules.conv.Conv3d"
    architecture = {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": 2,
            "features_per_stage": [4, 8],
            "conv_op": three,
            "kernel_sizes": [[3, 3, 3], [3, 3, 3]],
            "strides": [[1, 1, 1], [2, 2, 2]],
            "n_conv_per_stage": [1, 1],
            "n_conv_per_stage_decoder": [1],
            "conv_bias": True,
            "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
            "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }
    configuration = {
        "data_identifier": "tiny_3d",
        "batch_size": 2,
        "patch_size": [8, 16, 16],
        "spacing": [1.0, 1.0, 1.0],
        "median_image_size_in_voxels": list(SHAPE),
        "normalization_schemes": ["ZScoreNormalization"],
        "use_mask_for_norm": [False],
        "architecture": architecture,
        "batch_dice": False,
    }
    return Plan(
        dataset_name="Dataset999_tiny",
        plans_name="tiny",
        configurations={"3d_fullres": configuration},
    )


def tiny_case(index: int) -> PreparedCase:
    """A blob at a place drawn from the index; odd cases are bright, even ones dark."""
    rng = np.random.default_rng(index)
    label_map = np.zeros(SHAPE, dtype=np.int16)
    z, y, x = (int(rng.integers(1, n - 7)) if n > 8 else 2 for n in SHAPE)
    label_map[z : z + 4, y : y + 6, x : x + 6] = 1
    image = rng.normal(0, 0.3, SHAPE).astype(np.float32)
    image[label_map == 1] += 3.0 if index % 2 else 1.5
    placement = Placement(
        native=Geometry(shape_zyx=SHAPE, spacing_zyx_mm=(1.0, 1.0, 1.0)),
        transpose_forward=(0, 1, 2),
        transpose_backward=(0, 1, 2),
        crop_box=tuple((0, n) for n in SHAPE),
        prepared_shape=SHAPE,
    )
    return PreparedCase(
        case=f"case_{index}", image=image[None], label_map=label_map, placement=placement
    )


@pytest.fixture(scope="session")
def tiny_store(tmp_path_factory: pytest.TempPathFactory) -> PreparedStore:
    folder: Path = tmp_path_factory.mktemp("preprocessed") / "Dataset999_tiny"
    store = PreparedStore(
        folder=folder / "tiny_3d",
        records=folder / "segduet_records" / "tiny_3d",
        patch_zyx=(8, 16, 16),
    )
    for index in range(4):
        store.write(tiny_case(index), LABELS, settings_hash="tiny")
    return store


@pytest.fixture
def plan() -> Plan:
    """The plan of `make_job`'s network."""
    return tiny_plan()


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def make_job(tiny_store: PreparedStore, tmp_path: Path) -> Callable[..., TrainingJob]:
    """Builds a tiny training; keyword arguments are settings of its recipe."""
    return _job_builder(tiny_store, tmp_path)


@pytest.fixture(scope="session")
def job_builder() -> Callable[[PreparedStore, Path], Callable[..., TrainingJob]]:
    """Makes what `make_job` gives, for fixtures that outlive a test."""
    return _job_builder


def _job_builder(tiny_store: PreparedStore, tmp_path: Path) -> Callable[..., TrainingJob]:
    def build(
        *, workers: int = 0, until_epoch: int | None = None, folder: Path | None = None, **settings
    ) -> TrainingJob:
        recipe = Recipe.model_validate(
            {
                "epochs": 4,
                "steps_per_epoch": 3,
                "precision": "fp32",
                "averaging": {"kind": "ema", "decay": 0.9},
                "sampling": {"augmentation": "none"},
                "head": {"hidden": [8]},
                **settings,
            }
        )
        torch.manual_seed(recipe.seed)
        network = build_joint_network(
            configuration=tiny_plan().configuration("3d_fullres"),
            num_channels=1,
            labels=LABELS,
            tasks=[TASK],
            head=recipe.head,
            deep_supervision=True,
        )
        objective = build_objective(
            LABELS,
            [TASK],
            {"kind": np.array([[0.0], [1.0], [0.0], [1.0]])},
            recipe.classification_loss,
            segmentation_config=recipe.segmentation_loss,
            batch_dice=False,
            device=torch.device("cpu"),
        )
        patches = tiny_patches(tiny_store, recipe)
        return TrainingJob(
            network=network,
            objective=objective,
            balancer=build_balancer(recipe.balancing, tasks=["kind"], num_epochs=recipe.epochs),
            recipe=recipe,
            compute=choose_compute("cpu", recipe.precision),
            labels=LABELS,
            patches=patches,
            validation_patches=patches,
            validate_full=None,
            batch_size=2,
            workers=workers,
            run_folder=folder or tmp_path / "run",
            until_epoch=until_epoch,
        )

    return build


def tiny_patches(store: PreparedStore, recipe: Recipe) -> PatchDataset:
    """Patches of the four tiny cases."""
    cases = store.cases()
    source = PatchSource(
        store=store,
        cases=cases,
        targets={"kind": np.array([[int(case[-1]) % 2] for case in cases], np.float32)},
        tasks=(TASK,),
        labels=LABELS,
        seed=recipe.seed,
    )
    plan = plan_augmentation((8, 16, 16), recipe.sampling.augmentation)
    return PatchDataset(source, plan, recipe.sampling)
