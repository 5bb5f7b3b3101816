import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

from segduet.core.errors import DataError
from segduet.core.plan import ArchitecturePlan
from segduet.networks.registry import build_unet

PLAIN = "dynamic_network_architectures.architectures.unet.PlainConvUNet"
RESIDUAL = "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet"


def plan(name: str = PLAIN, imports: tuple[str, ...] | None = None, **changes: Any):
    kwargs = {
        "n_stages": 2,
        "features_per_stage": [4, 6],
        "conv_op": "torch.nn.modules.conv.Conv2d",
        "kernel_sizes": [[3, 3], [3, 3]],
        "strides": [[1, 1], [2, 2]],
        "n_conv_per_stage": [1, 1],
        "n_conv_per_stage_decoder": [1],
        "conv_bias": True,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm2d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }
    kwargs |= changes
    if name == RESIDUAL:
        kwargs["n_blocks_per_stage"] = kwargs.pop("n_conv_per_stage")
    content = {
        "network_class_name": name,
        "arch_kwargs": kwargs,
        "_kw_requires_import": imports or ("conv_op", "norm_op", "dropout_op", "nonlin"),
    }
    return ArchitecturePlan.model_validate(json.loads(json.dumps(content)))


def build(architecture: ArchitecturePlan):
    return build_unet(architecture, num_channels=1, num_outputs=2, deep_supervision=False)


@pytest.mark.parametrize("name", [PLAIN, RESIDUAL])
def test_start_weights_equal_nnunets_under_one_seed(name):
    """F13: He initialisation, and residual branches that start at zero."""
    architecture = plan(name)
    torch.manual_seed(11)
    ours = build(architecture).state_dict()
    torch.manual_seed(11)
    theirs = get_network_from_plans(
        name, architecture.arch_kwargs, architecture.kw_requires_import, 1, 2, True, False
    ).state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_residual_blocks_may_be_named():
    block = "dynamic_network_architectures.building_blocks.residual.BottleneckD"
    network = build(
        plan(
            RESIDUAL,
            imports=("conv_op", "norm_op", "nonlin", "block"),
            block=block,
            bottleneck_channels=[2, 2],
        )
    )
    assert any(type(m).__name__ == "BottleneckD" for m in network.modules())


@pytest.mark.parametrize("name", ["os.system", "torch.nn.Linear", "PlainConvUNet", ""])
def test_a_class_outside_the_list_is_refused_with_the_list(name):
    with pytest.raises(DataError, match=r"expected one of .*PlainConvUNet.*never imported"):
        build(plan(name))


@pytest.mark.parametrize("name", ["os.system", "torch.nn.Linear", "torch.nn.ReLUx"])
def test_an_argument_naming_another_class_is_refused(name):
    with pytest.raises(DataError, match=r"nonlin: found .*torch\.nn\.LeakyReLU"):
        build(plan(nonlin=name))


@pytest.mark.parametrize(
    "changes",
    [
        {"n_heads": 4},
        {"kernel_sizes": [[3, 3]]},
        {"input_channels": 3},
        {"features_per_stage": [4]},
        {"nonlin_kwargs": {"slope": 1}},
    ],
)
def test_arguments_the_class_refuses_are_the_plans_fault(changes):
    with pytest.raises(DataError, match=r"arguments it refuses.*arch_kwargs"):
        build(plan(**changes))


def test_an_import_of_an_argument_that_is_not_there_is_refused():
    with pytest.raises(DataError, match=r"names 'block', which arch_kwargs lacks"):
        build(plan(imports=("conv_op", "block")))


def test_building_imports_neither_timm_nor_torchvision_nor_nnunet(tmp_path: Path):
    """A torchvision that does not match torch breaks nnU-Net's own lookup; ours never meets it."""
    target = tmp_path / "plan.json"
    target.write_text(json.dumps(plan().model_dump(mode="json", by_alias=True)))
    program = (
        "import sys, pathlib\n"
        "from segduet.core.plan import ArchitecturePlan\n"
        "from segduet.networks.registry import build_unet\n"
        f"p = ArchitecturePlan.model_validate_json(pathlib.Path({str(target)!r}).read_text())\n"
        "build_unet(p, num_channels=1, num_outputs=2, deep_supervision=False)\n"
        "print(sorted({m.split('.')[0] for m in sys.modules}"
        " & {'timm', 'torchvision', 'nnunetv2'}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
