"""Plans of networks small enough for a test. Tests import this file by its name (pyproject)."""

from collections.abc import Sequence
from typing import Any

from segduet.core.plan import ConfigurationPlan

UNETS = "dynamic_network_architectures.architectures.unet"
PLAIN_UNET = f"{UNETS}.PlainConvUNet"


def tiny_configuration(
    patch: Sequence[int],
    *,
    features: Sequence[int] = (4, 6, 8),
    strides: Sequence[int | Sequence[int]] | None = None,
    class_name: str = PLAIN_UNET,
    **architecture: Any,
) -> ConfigurationPlan:
    """A configuration for images of one channel, spacing 1 and windows of `patch`.

    Args:
        patch: 2 or 3 numbers; they decide the number of spatial dims.
        features: channels of the stages.
        strides: of the stages; None halves every axis at each stage but the first.
        class_name: of the network, as plans name it.
        architecture: more arguments of the network, or other ones.
    """
    dims, num_stages = len(patch), len(features)
    depth = "n_blocks_per_stage" if "Residual" in class_name else "n_conv_per_stage"
    arguments: dict[str, Any] = {
        "n_stages": num_stages,
        "features_per_stage": list(features),
        "conv_op": f"torch.nn.modules.conv.Conv{dims}d",
        "kernel_sizes": [[3] * dims] * num_stages,
        "strides": list(strides or [1, *[2] * (num_stages - 1)]),
        depth: [1] * num_stages,
        "n_conv_per_stage_decoder": [1] * (num_stages - 1),
        "conv_bias": True,
        "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dims}d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "nonlin": "torch.nn.LeakyReLU",
        **architecture,
    }
    return ConfigurationPlan.model_validate(
        {
            "data_identifier": "test",
            "batch_size": 2,
            "patch_size": list(patch),
            "spacing": [1.0] * dims,
            "median_image_size_in_voxels": [float(n) for n in patch],
            "normalization_schemes": ["ZScoreNormalization"],
            "use_mask_for_norm": [False],
            "batch_dice": False,
            "architecture": {
                "network_class_name": class_name,
                "arch_kwargs": arguments,
                "_kw_requires_import": ["conv_op", "norm_op", "nonlin"],
            },
        }
    )
