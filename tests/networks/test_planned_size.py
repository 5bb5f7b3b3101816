import pytest

from segduet.core.errors import DataError
from segduet.core.plan import ArchitecturePlan
from segduet.networks.backbone_config import PlannedConfig
from segduet.networks.planned_size import resized
from segduet.networks.registry import build_unet

UNET = "dynamic_network_architectures.architectures.unet"


def architecture(name: str = "PlainConvUNet", **changes) -> ArchitecturePlan:
    depth = "n_blocks_per_stage" if name.startswith("Residual") else "n_conv_per_stage"
    arguments = {
        "n_stages": 3,
        "features_per_stage": [4, 6, 9],
        "conv_op": "torch.nn.Conv2d",
        "kernel_sizes": 3,
        "strides": [1, 2, 2],
        depth: [1, 2, 1],
        "n_conv_per_stage_decoder": 1,
        "conv_bias": True,
        "norm_op": "torch.nn.InstanceNorm2d",
        "norm_op_kwargs": {"affine": True},
        "nonlin": "torch.nn.LeakyReLU",
    }
    return ArchitecturePlan(
        network_class_name=f"{UNET}.{name}",
        arch_kwargs=arguments | changes,
        kw_requires_import=("conv_op", "norm_op", "nonlin"),
    )


def count(plan: ArchitecturePlan) -> int:
    network = build_unet(plan, num_channels=1, num_outputs=2, deep_supervision=False)
    return sum(p.numel() for p in network.parameters())


def test_as_planned_changes_nothing():
    """F20: the default is the plan."""
    assert resized(architecture(), PlannedConfig()) == architecture()


@pytest.mark.parametrize("name", ["PlainConvUNet", "ResidualEncoderUNet"])
def test_wider_and_deeper_equal_a_plan_that_says_so(name):
    """F20: 4, 6, 9 times 1.5 is 6, 9, 13.5 (to 14); one more convolution or block per stage."""
    depth = "n_blocks_per_stage" if name.startswith("Residual") else "n_conv_per_stage"
    plan = architecture(name)
    wider = resized(plan, PlannedConfig(width_factor=1.5))
    deeper = resized(plan, PlannedConfig(extra_depth=1))
    assert wider == architecture(name, features_per_stage=[6, 9, 14])
    assert deeper == architecture(name, **{depth: [2, 3, 2]})
    assert count(plan) < min(count(wider), count(deeper))


def test_one_extra_convolution_has_the_parameters_of_one():
    """F20: by hand, 3 x 3 on w features with bias, and a norm: 9 w * w + w + 2 w per stage."""
    extra = count(resized(architecture(), PlannedConfig(extra_depth=1))) - count(architecture())
    assert extra == sum(9 * w * w + 3 * w for w in (4, 6, 9))


def test_one_number_for_all_stages_is_scaled_too():
    plan = architecture(features_per_stage=4, n_conv_per_stage=1)
    both = resized(plan, PlannedConfig(width_factor=0.1, extra_depth=2)).arch_kwargs
    assert (both["features_per_stage"], both["n_conv_per_stage"]) == (1, 3)


def test_a_width_that_is_no_number_is_the_plans_fault():
    plan = architecture(features_per_stage=["wide", 6, 8])
    with pytest.raises(DataError, match=r"features_per_stage: found \['wide', 6, 8\]"):
        resized(plan, PlannedConfig(width_factor=1.5))
