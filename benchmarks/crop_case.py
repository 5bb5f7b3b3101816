"""The crop of the reference measurements: a plain 32..320 network, as stock nnU-Net leaves one.

70 x 120 x 180 voxels at the plan's spacing, windows of 64 x 128 x 192, 3 classes. The weights are
random and nobody trained them: this serves to measure time, and no accuracy.
"""

import dataclasses
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from prediction_stages import label_names, smooth_noise
from segduet.compression.calibration import CalibrationWindow
from segduet.compression.quantisation import QuantisationSettings, quantise
from segduet.core.files import write_json
from segduet.core.geometry import Geometry
from segduet.core.runtime import RuntimeFormat
from segduet.inference.bundles.opening import open_bundle_folder
from segduet.inference.bundles.packing import pack_bundle
from segduet.inference.bundles.writing import write_bundle_folder
from segduet.io.itk import write_scan
from segduet.workflows.conversion import convert_model
from segduet.workflows.models import open_model

SEED = 0
CONFIGURATION = "3d_fullres"
#: Small, as the range of a random network's activations is all that is looked for.
_CALIBRATION_WINDOW = (16, 64, 64)
_DATASET, _PLANS = "Dataset998_crop", "cropPlans"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CropCase:
    """How large everything is.

    Attributes:
        features: of the encoder's stages.
        patch: window of the plan.
        shape: of the image.
    """

    features: tuple[int, ...] = (32, 64, 128, 256, 320, 320)
    patch: tuple[int, int, int] = (64, 128, 192)
    shape: tuple[int, int, int] = (70, 120, 180)

    @classmethod
    def quick(cls) -> "CropCase":
        """As small as shows that everything works."""
        return cls(features=(8, 8, 8, 8, 8, 8), patch=(16, 64, 64), shape=(18, 60, 60))


def make_stock_model(root: Path, crop: CropCase) -> Path:
    """Lets nnU-Net's own trainer save a network it initialised; the model folder."""
    for name in ("raw", "preprocessed", "results"):
        os.environ[f"nnUNet_{name}"] = str(root / f"nnUNet_{name}")
    import torch
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    torch.manual_seed(SEED)
    plans, dataset = _plans(crop), _dataset_json()
    trainer = nnUNetTrainer(
        plans={**plans, "continue_training": False},
        configuration=CONFIGURATION,
        fold=0,
        dataset_json=dataset,
        device=torch.device("cpu"),
    )
    trainer.network = trainer.build_network_architecture(
        trainer.plans_manager, trainer.configuration_manager, 1, 3, True
    )
    trainer.optimizer, trainer.lr_scheduler = trainer.configure_optimizers()
    trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
    trainer.save_checkpoint(str(Path(trainer.output_folder) / "checkpoint_final.pth"))
    folder = Path(trainer.output_folder_base)
    write_json(folder / "plans.json", plans)
    write_json(folder / "dataset.json", dataset)
    return folder


def make_image(root: Path, crop: CropCase) -> Path:
    """Writes the image; the folder it lies in."""
    folder = root / "images"
    folder.mkdir()
    levels = (100 * smooth_noise(crop.shape, SEED)).astype(np.int16)
    geometry = Geometry(shape_zyx=crop.shape, spacing_zyx_mm=(1.0, 1.0, 1.0))
    write_scan(folder / "crop_0000.nii.gz", levels, geometry)
    return folder


def make_int8_bundle(model: Path, archive: Path) -> Path:
    """The same network in 8 bits, as an archive. No gate: a random network is never right."""
    rng = np.random.default_rng(SEED)
    images = rng.normal(size=(8, 1, *_CALIBRATION_WINDOW)).astype(np.float32)
    shares = np.ones((1, *_CALIBRATION_WINDOW), np.float32)
    windows = [CalibrationWindow(case="noise", image=image, shares=shares) for image in images]
    with tempfile.TemporaryDirectory(prefix="segduet-int8-") as temporary:
        exact, target = Path(temporary) / "fp32", Path(temporary) / "int8"
        exact.mkdir()
        convert_model(open_model(model), RuntimeFormat.OPENVINO, exact)
        original = open_bundle_folder(exact, verify=False)
        (member,) = original.members
        network = quantise(
            original.member_folder(member),
            member.network,
            windows,
            target / member.folder,
            settings=QuantisationSettings(),
        )
        write_bundle_folder(
            target,
            plan=original.plan,
            description=original.description,
            configuration_name=CONFIGURATION,
            mirror_axes=original.mirror_axes,
            members=[member.model_copy(update={"network": network})],
            source=original.manifest.source,
        )
        pack_bundle(target, archive)
    return archive


def _dataset_json() -> dict[str, Any]:
    return {
        "channel_names": {"0": "noise"},
        "labels": label_names(3),
        "numTraining": 1,
        "file_ending": ".nii.gz",
    }


def _plans(crop: CropCase) -> dict[str, Any]:
    """A plan as nnU-Net's planner writes it."""
    stages = len(crop.features)
    strides = [[1, 1, 1], *[[2, 2, 2]] * 3, *[[1, 2, 2]] * (stages - 4)]
    resampling = {"order_z": 0, "force_separate_z": None}
    architecture = {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": stages,
            "features_per_stage": list(crop.features),
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": [[3, 3, 3]] * stages,
            "strides": strides,
            "n_conv_per_stage": [2] * stages,
            "n_conv_per_stage_decoder": [2] * (stages - 1),
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
    return {
        "dataset_name": _DATASET,
        "plans_name": _PLANS,
        "original_median_spacing_after_transp": [1.0, 1.0, 1.0],
        "original_median_shape_after_transp": list(crop.shape),
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {
            "0": {
                "max": 300.0,
                "mean": 0.0,
                "median": 0.0,
                "min": -300.0,
                "percentile_00_5": -250.0,
                "percentile_99_5": 250.0,
                "std": 100.0,
            }
        },
        "configurations": {
            CONFIGURATION: {
                "data_identifier": "plan_3d",
                "preprocessor_name": "DefaultPreprocessor",
                "batch_size": 2,
                "patch_size": list(crop.patch),
                "median_image_size_in_voxels": [float(n) for n in crop.shape],
                "spacing": [1.0, 1.0, 1.0],
                "normalization_schemes": ["ZScoreNormalization"],
                "use_mask_for_norm": [False],
                "resampling_fn_data": "resample_data_or_seg_to_shape",
                "resampling_fn_seg": "resample_data_or_seg_to_shape",
                "resampling_fn_data_kwargs": {"is_seg": False, "order": 3, **resampling},
                "resampling_fn_seg_kwargs": {"is_seg": True, "order": 1, **resampling},
                "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
                "resampling_fn_probabilities_kwargs": {"is_seg": False, "order": 1, **resampling},
                "architecture": architecture,
                "batch_dice": False,
            }
        },
    }
