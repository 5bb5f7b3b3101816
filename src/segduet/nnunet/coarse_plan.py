"""The configuration `3d_coarse`: the whole image at once, to find where to look closer (F72)."""

import math
from typing import Any

from segduet.core.errors import RequestError

COARSE_CONFIGURATION = "3d_coarse"
_FINE_CONFIGURATION = "3d_fullres"

#: Voxels of the median image: a pass takes a fraction of a second on a CPU.
_NUM_VOXELS = 1_500_000

#: Below this saving of voxels a second look is not worth it.
_LEAST_SAVING = 2.0

#: Features of the first stage; doubled at every stage up to the most.
_FIRST_FEATURES, _MOST_FEATURES = 8, 80

#: As nnU-Net's 3d_lowres: spacing grows by this factor, of the finest axes alone while another one
#: is more than twice as coarse.
_STEP, _ANISOTROPY = 1.03, 2.0

_LEAST_FEATURE_MAP, _MOST_POOLINGS = 4, 5


def with_coarse_configuration(
    plan: dict[str, Any], *, num_voxels: int = _NUM_VOXELS
) -> dict[str, Any]:
    """The plan with a configuration of large voxels and a small network.

    Voxels are as large as it takes for the median image to have about so many of them; the patch is
    near the whole median image, the network a plain U-Net of 8 to 80 features. All else is
    inherited from 3d_fullres. nnU-Net itself does not look at the configuration.

    Args:
        plan: a plans JSON.
        num_voxels: of the median image.

    Raises:
        RequestError: the plan has no 3d_fullres, or its images are too small to save anything.
    """
    fine = plan["configurations"].get(_FINE_CONFIGURATION)
    if fine is None:
        raise RequestError(
            "--coarse",
            found="a plan without 3d_fullres",
            expected="3D images, in which a region can be looked for",
            remedy="Leave --coarse out.",
        )
    shape = [float(n) for n in fine["median_image_size_in_voxels"]]
    if math.prod(shape) < _LEAST_SAVING * num_voxels:
        raise RequestError(
            "--coarse",
            found=f"a median image of {math.prod(shape):.0f} voxels",
            expected=f"at least {_LEAST_SAVING * num_voxels:.0f}, so that a coarse look saves work",
            remedy="Leave --coarse out: such images need no coarse look.",
        )
    spacing, coarse_shape = _coarser(fine["spacing"], shape, num_voxels)
    configuration = _configuration(plan["plans_name"], spacing, coarse_shape)
    return {
        **plan,
        "configurations": {**plan["configurations"], COARSE_CONFIGURATION: configuration},
    }


def _coarser(
    spacing: list[float], shape: list[float], num_voxels: int
) -> tuple[list[float], list[float]]:
    """Spacing and shape of the median image once it has about so many voxels."""
    new = list(spacing)

    def shape_now() -> list[float]:
        return [n * old / now for n, old, now in zip(shape, spacing, new, strict=True)]

    while math.prod(shape_now()) > num_voxels:
        # one that is alone with its coarseness waits for the others
        waits = [axis for axis in range(3) if new[axis] > _ANISOTROPY * min(new)]
        new = [mm if axis in waits else mm * _STEP for axis, mm in enumerate(new)]
    return new, shape_now()


def _configuration(plans_name: str, spacing: list[float], shape: list[float]) -> dict[str, Any]:
    from nnunetv2.experiment_planning.experiment_planners.network_topology import (
        get_pool_and_conv_props,
    )

    wanted = [max(_LEAST_FEATURE_MAP, round(n)) for n in shape]
    _, strides, kernels, patch, _ = get_pool_and_conv_props(
        spacing, wanted, _LEAST_FEATURE_MAP, _MOST_POOLINGS
    )
    num_stages = len(strides)
    features = [min(_FIRST_FEATURES * 2**stage, _MOST_FEATURES) for stage in range(num_stages)]
    return {
        "inherits_from": _FINE_CONFIGURATION,
        "data_identifier": f"{plans_name}_{COARSE_CONFIGURATION}",
        "batch_size": 2,
        "spacing": [float(mm) for mm in spacing],
        "median_image_size_in_voxels": [float(round(n)) for n in shape],
        "patch_size": [int(n) for n in patch],
        "architecture": {
            "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
            "arch_kwargs": {
                "n_stages": num_stages,
                "features_per_stage": features,
                "conv_op": "torch.nn.modules.conv.Conv3d",
                "kernel_sizes": [[int(n) for n in kernel] for kernel in kernels],
                "strides": [[int(n) for n in stride] for stride in strides],
                "n_conv_per_stage": [2] * num_stages,
                "n_conv_per_stage_decoder": [2] * (num_stages - 1),
                "conv_bias": True,
                "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
                "norm_op_kwargs": {"eps": 1e-5, "affine": True},
                "dropout_op": None,
                "dropout_op_kwargs": None,
                "nonlin": "torch.nn.LeakyReLU",
                "nonlin_kwargs": {"inplace": True},
            },
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
    }
