"""Plans, volumes and nnU-Net's own answers for the preparation tests."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from segduet.core.geometry import Geometry
from segduet.core.plan import Plan
from segduet.core.volume import Volume

RESAMPLING = {"order_z": 0, "force_separate_z": None}
CT_INTENSITIES = {"mean": 80.0, "std": 45.0, "percentile_00_5": -40.0, "percentile_99_5": 210.0}


def make_plan(
    spacing: tuple[float, ...],
    *,
    schemes: tuple[str, ...] = ("ZScoreNormalization",),
    use_mask: bool = False,
    transpose: tuple[int, int, int] = (0, 1, 2),
    **changes: Any,
) -> Plan:
    """A plan with one configuration `c` for this target spacing (transposed axes)."""
    configuration = {
        "data_identifier": "plan_c",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": [8] * len(spacing),
        "median_image_size_in_voxels": [16.0] * len(spacing),
        "spacing": list(spacing),
        "normalization_schemes": list(schemes),
        "use_mask_for_norm": [use_mask] * len(schemes),
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": {"is_seg": False, "order": 3, **RESAMPLING},
        "resampling_fn_seg_kwargs": {"is_seg": True, "order": 1, **RESAMPLING},
        "resampling_fn_probabilities_kwargs": {"is_seg": False, "order": 1, **RESAMPLING},
        "architecture": {"network_class_name": "x", "arch_kwargs": {}, "_kw_requires_import": []},
        "batch_dice": False,
        **changes,
    }
    return Plan.model_validate(
        {
            "dataset_name": "Dataset999_toy",
            "plans_name": "plan",
            "transpose_forward": transpose,
            "transpose_backward": tuple(int(i) for i in np.argsort(transpose)),
            "image_reader_writer": "SimpleITKIO",
            "label_manager": "LabelManager",
            "foreground_intensity_properties_per_channel": {
                str(channel): CT_INTENSITIES for channel in range(len(schemes))
            },
            "configurations": {"c": configuration},
        }
    )


def make_volume(
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float],
    *,
    channels: int = 1,
    border: int = 0,
    seed: int = 0,
) -> tuple[Volume, np.ndarray]:
    """Smooth noise in HU-like units with an empty border and a hole, and blobs labelled 0 to 3."""
    rng = np.random.default_rng(seed)
    noise = [ndimage.gaussian_filter(rng.normal(size=shape), 1.0) for _ in range(channels)]
    image = np.stack([200 * n / n.std() + 60 for n in noise]).astype(np.float32)
    inner = np.zeros(shape, bool)
    inner[tuple(slice(min(border, (n - 1) // 2), n - min(border, (n - 1) // 2)) for n in shape)] = 1
    image *= inner
    z, y, x = (n // 2 for n in shape)
    image[:, z, y : y + 2, x : x + 2] = 0
    level = ndimage.gaussian_filter(rng.normal(size=shape), 1.5)
    label_map = np.digitize(level / level.std(), [0.3, 0.9, 1.5]).astype(np.int16) * inner
    dims = 2 if shape[0] == 1 else 3
    geometry = Geometry(shape_zyx=shape, spacing_zyx_mm=spacing, num_spatial_dims=dims)
    return Volume(array=image, geometry=geometry), label_map


Z = "ZScoreNormalization"
CASES = {
    "3D CT, all axes resampled": (
        make_plan((2.0, 1.0, 1.0), schemes=("CTNormalization",)),
        make_volume((13, 30, 28), (1.7, 0.8, 1.1), border=2),
    ),
    "3D CT, coarser target": (
        make_plan((3.0, 1.9, 2.3), schemes=("CTNormalization",)),
        make_volume((13, 30, 28), (2.0, 1.0, 1.0), border=2),
    ),
    "anisotropic MR, separate z, more slices": (
        make_plan((5.0, 1.25, 1.25)),
        make_volume((9, 36, 30), (10.0, 1.5, 1.5), border=1),
    ),
    "anisotropic MR, masked z-score, fewer slices": (
        make_plan((10.0, 2.0, 2.0), use_mask=True),
        make_volume((9, 36, 30), (7.0, 1.5, 1.5), border=1),
    ),
    "only the target is anisotropic": (
        make_plan((10.0, 2.0, 2.0)),
        make_volume((20, 36, 30), (2.0, 1.5, 1.5)),
    ),
    "twice as fine: every border voxel of a label is a tie": (
        make_plan((0.5, 0.5, 0.5)),
        make_volume((9, 20, 18), (1.0, 1.0, 1.0)),
    ),
    "nothing to resample": (
        make_plan((1.0, 1.0, 1.0)),
        make_volume((9, 20, 18), (1.0, 1.0, 1.0), border=2),
    ),
    "2D colour, native pixels": (
        make_plan((1.0, 1.0), schemes=(Z, Z, Z)),
        make_volume((1, 60, 50), (999.0, 1.0, 1.0), channels=3),
    ),
    "2D, resampled": (
        make_plan((1.3, 0.7), schemes=("RescaleTo01Normalization",)),
        make_volume((1, 60, 50), (999.0, 1.0, 1.0), border=3),
    ),
    "2D configuration on a volume": (
        make_plan((1.3, 0.9)),
        make_volume((7, 36, 30), (3.0, 1.0, 1.0)),
    ),
    "2D configuration on an anisotropic volume": (
        make_plan((1.3, 0.9)),
        make_volume((7, 36, 30), (8.0, 1.0, 1.0)),
    ),
    "transposed, coarse axis last in the file": (
        make_plan((6.0, 1.0, 1.2), transpose=(2, 0, 1), schemes=("CTNormalization",)),
        make_volume((31, 34, 8), (1.1, 0.9, 5.0), border=1),
    ),
    "transposed, masked z-score": (
        make_plan((1.0, 1.0, 1.2), transpose=(2, 0, 1), use_mask=True),
        make_volume((31, 34, 18), (1.1, 0.9, 1.0), border=4),
    ),
    "coarse axis in the middle": (
        make_plan((1.0, 6.0, 1.2)),
        make_volume((31, 9, 28), (1.1, 5.0, 1.0)),
    ),
}


@pytest.fixture(params=CASES)
def prepared_like(request: pytest.FixtureRequest) -> tuple[Plan, Volume, np.ndarray]:
    """Plan, image and labels of every geometry that is prepared differently."""
    plan, (volume, label_map) = CASES[request.param]
    return plan, volume, label_map


@pytest.fixture(scope="session")
def planned() -> Callable[..., Plan]:
    """Makes plans; see `make_plan`."""
    return make_plan


@pytest.fixture(scope="session")
def imaged() -> Callable[..., tuple[Volume, np.ndarray]]:
    """Makes an image and its labels; see `make_volume`."""
    return make_volume


@pytest.fixture(scope="session")
def nnunet_prepares() -> Callable[..., tuple[np.ndarray, np.ndarray, dict[str, Any], Any, Any]]:
    """Runs nnunetv2's own preprocessor on the same arrays."""
    preprocessor = pytest.importorskip("nnunetv2.preprocessing.preprocessors.default_preprocessor")
    handling = pytest.importorskip("nnunetv2.utilities.plans_handling.plans_handler")

    def run(volume: Volume, label_map: np.ndarray | None, plan: Plan, name: str = "c"):
        manager = handling.PlansManager(plan.to_json())
        configuration = manager.get_configuration(name)
        labels = {"background": 0, "one": 1, "two": 2, "three": 3}
        properties = {"spacing": list(volume.geometry.spacing_zyx_mm)}
        image, seg, properties = preprocessor.DefaultPreprocessor(verbose=False).run_case_npy(
            volume.array,
            None if label_map is None else label_map[None].astype(np.float32),
            properties,
            manager,
            configuration,
            {"labels": labels},
        )
        return image, seg[0], properties, manager, configuration

    return run


@pytest.fixture(scope="session")
def nnunet_restores(nnunet_prepares: Callable[..., Any]) -> Callable[..., np.ndarray]:
    """Runs nnunetv2's own export of logits for the same case."""
    export = pytest.importorskip("nnunetv2.inference.export_prediction")

    def run(logits: np.ndarray, volume: Volume, plan: Plan, dataset: dict[str, Any]) -> np.ndarray:
        _, _, properties, manager, configuration = nnunet_prepares(volume, None, plan)
        restored = export.convert_predicted_logits_to_segmentation_with_correct_shape(
            logits,
            manager,
            configuration,
            manager.get_label_manager(dataset),
            properties,
            num_threads_torch=1,
        )
        return np.asarray(restored)

    return run
