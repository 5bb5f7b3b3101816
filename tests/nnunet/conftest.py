"""A toy dataset in nnU-Net's layout, and a plan for it made by hand."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK

from segduet.core.cases import CaseRecord, CaseTable
from segduet.core.folders import DataRoot, DatasetFolders
from segduet.core.plan import Plan
from segduet.core.tasks import TaskSpec

NAME = "Dataset777_toy"
TASK = TaskSpec(name="kind", classes=("dark", "bright"))
TRAIN, VAL = ("a1", "a2", "a3"), ("v1",)
DESCRIPTION = {
    "channel_names": {"0": "CT"},
    "labels": {"background": 0, "organ": [1, 2], "lesion": 2},
    "regions_class_order": [1, 2],
    "numTraining": 4,
    "file_ending": ".nii.gz",
    "segduet": {"tasks": [TASK.model_dump(mode="json")]},
}


def write_scan(path: Path, array: np.ndarray, spacing_zyx: tuple[float, ...]) -> None:
    image = SimpleITK.GetImageFromArray(array)
    image.SetSpacing(spacing_zyx[::-1])
    image.SetOrigin((5.0, -3.0, 2.0))
    path.parent.mkdir(parents=True, exist_ok=True)
    SimpleITK.WriteImage(image, str(path))


def ball_case(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A noisy CT of 10 x 24 x 24 with an organ ball and a lesion ball inside it."""
    rng = np.random.default_rng(seed)
    z, y, x = np.ogrid[:10, :24, :24]
    distance = np.sqrt((2.4 * (z - 5)) ** 2 + (y - 12) ** 2 + (x - 12) ** 2)
    labels = (distance < 9).astype(np.uint8) + (distance < 4 + seed % 2)
    image = rng.normal(0, 20, labels.shape) + 60 * labels + 10 * seed
    return image.astype(np.float32), labels


def build_raw(top: Path, cases: tuple[str, ...]) -> tuple[DataRoot, DatasetFolders]:
    root = DataRoot(raw=top / "raw", preprocessed=top / "preprocessed", results=top / "results")
    folders = root.new_dataset(NAME)
    for number, case in enumerate(cases):
        image, labels = ball_case(number)
        write_scan(folders.images / f"{case}_0000.nii.gz", image, (2.5, 1.0, 1.0))
        write_scan(folders.masks / f"{case}.nii.gz", labels, (2.5, 1.0, 1.0))
    (folders.raw / "dataset.json").write_text(json.dumps(DESCRIPTION | {"numTraining": len(cases)}))
    records = tuple(CaseRecord(case=c, patient=c, labels={"kind": "dark"}) for c in cases)
    CaseTable(records=records).write(folders.raw / "cases.csv", [TASK])
    return root, folders


@pytest.fixture
def raw_dataset() -> Callable[..., tuple[DataRoot, DatasetFolders]]:
    """Builds the toy dataset: `raw_dataset(folder, cases)`."""
    return build_raw


@pytest.fixture
def toy(tmp_path: Path) -> tuple[DataRoot, DatasetFolders]:
    """The toy dataset with all of its cases."""
    return build_raw(tmp_path, TRAIN + VAL)


def architecture() -> dict[str, Any]:
    return {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": 3,
            "features_per_stage": [4, 8, 8],
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": [[3, 3, 3]] * 3,
            "strides": [[1, 1, 1], [2, 2, 2], [1, 2, 2]],
            "n_conv_per_stage": [1, 1, 1],
            "n_conv_per_stage_decoder": [1, 1],
            "conv_bias": True,
            "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
            "norm_op_kwargs": {"eps": 1e-05, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }


@pytest.fixture(scope="session")
def toy_plan() -> Plan:
    """A plan for the toy dataset: 3d_fullres at 2 x 1.2 x 1.2 mm, patch 8 x 16 x 16."""
    resampling = {"order_z": 0, "force_separate_z": None}
    name = "resample_data_or_seg_to_shape"
    configuration = {
        "data_identifier": "toyPlans_3d_fullres",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": [8, 16, 16],
        "median_image_size_in_voxels": [12.0, 20.0, 20.0],
        "spacing": [2.0, 1.2, 1.2],
        "normalization_schemes": ["CTNormalization"],
        "use_mask_for_norm": [False],
        "resampling_fn_data": name,
        "resampling_fn_seg": name,
        "resampling_fn_probabilities": name,
        "resampling_fn_data_kwargs": {"is_seg": False, "order": 3, **resampling},
        "resampling_fn_seg_kwargs": {"is_seg": True, "order": 1, **resampling},
        "resampling_fn_probabilities_kwargs": {"is_seg": False, "order": 1, **resampling},
        "architecture": architecture(),
        "batch_dice": False,
    }
    intensities = {"mean": 80, "std": 50, "percentile_00_5": -60, "percentile_99_5": 250}
    return Plan.model_validate(
        {
            "dataset_name": NAME,
            "plans_name": "toyPlans",
            "transpose_forward": [0, 1, 2],
            "transpose_backward": [0, 1, 2],
            "image_reader_writer": "SimpleITKIO",
            "label_manager": "LabelManager",
            "original_median_spacing_after_transp": [2.5, 1.0, 1.0],
            "original_median_shape_after_transp": [10, 24, 24],
            "experiment_planner_used": "ExperimentPlanner",
            "foreground_intensity_properties_per_channel": {"0": intensities},
            "configurations": {"3d_fullres": configuration},
        }
    )
