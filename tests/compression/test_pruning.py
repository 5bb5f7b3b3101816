"""F69: pruning makes a network smaller, keeps its strongest channels and both its answers."""

import itertools

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from segduet.compression.pruning import fill_narrow
from segduet.core.errors import RequestError
from segduet.core.labels import LabelScheme
from segduet.core.plan import ConfigurationPlan
from segduet.core.tasks import TaskSpec
from segduet.networks.backbone_config import PlannedConfig
from segduet.networks.config import HeadConfig
from segduet.networks.joint import JointNetwork, build_joint_network
from tiny_plans import PLAIN_UNET, UNETS, tiny_configuration

LABELS = LabelScheme.from_dataset_json({"background": 0, "organ": 1, "lesion": 2}, None, where="")
TASK = TaskSpec(name="type", classes=("a", "b", "c"), evidence_region="lesion")
HEADS = {
    "bottleneck": HeadConfig(kind="bottleneck", hidden=(8,), layer_norm=False),
    "gem": HeadConfig(kind="gem", hidden=(8,), layer_norm=False, spatial_attention=True),
    "mask_pooled": HeadConfig(
        hidden=(8,), layer_norm=False, decoder_features=True, second_moments=False
    ),
    "attention": HeadConfig(kind="attention", hidden=(8,), layer_norm=False, stages=(0, 2)),
}


WITH_MOMENTS = HeadConfig(hidden=(8,), layer_norm=False)


def configuration(kind: str, dims: int) -> ConfigurationPlan:
    patch = (8, 16, 16)[-dims:]
    if kind == "plain":
        return tiny_configuration(
            patch, features=(4, 8, 12), class_name=PLAIN_UNET, n_conv_per_stage=[2, 2, 2]
        )
    return tiny_configuration(
        patch,
        features=(4, 8, 12),
        class_name=f"{UNETS}.ResidualEncoderUNet",
        n_blocks_per_stage=[1, 2, 2],
    )


def built(plan: ConfigurationPlan, head: HeadConfig, width: float, seed: int = 0) -> JointNetwork:
    torch.manual_seed(seed)
    return build_joint_network(
        configuration=plan,
        num_channels=2,
        labels=LABELS,
        tasks=(TASK,),
        head=head,
        deep_supervision=False,
        backbone=PlannedConfig(width_factor=width),
    ).eval()


def pruned(plan: ConfigurationPlan, wide: JointNetwork, head: HeadConfig) -> JointNetwork:
    narrow = built(plan, head, 0.5, seed=1)
    fill_narrow(narrow, wide, num_channels=2, patch_size=plan.patch_size)
    return narrow


@torch.no_grad()
def with_dead_half(network: JointNetwork, seed: int) -> None:
    """Silences every second channel, drawn at random, as if training had never used it."""
    generator = torch.Generator().manual_seed(seed)
    answering = set(network.decoder.seg_layers)
    dead: dict[int, torch.Tensor] = {}
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)):
            if module in answering or any(module is m for m in network.heads.modules()):
                continue
            # layers of one width share what is dead, so that residual sums stay dead too
            if module.out_channels not in dead:
                order = torch.randperm(module.out_channels, generator=generator)
                dead[module.out_channels] = order[: module.out_channels // 2]
            chosen = dead[module.out_channels]
            is_transposed = isinstance(module, (nn.ConvTranspose2d, nn.ConvTranspose3d))
            module.weight[(slice(None), chosen) if is_transposed else chosen] = 0
            if module.bias is not None:
                module.bias[chosen] = 0
        elif isinstance(module, (nn.InstanceNorm2d, nn.InstanceNorm3d)):
            module.weight.uniform_(0.5, 1.5, generator=generator)
            module.weight[dead[module.num_features]] = 0
            module.bias[dead[module.num_features]] = 0


@pytest.mark.parametrize(
    ("kind", "dims", "head"),
    [*itertools.product(["plain", "residual"], [3], HEADS), ("plain", 2, "mask_pooled")],
)
def test_dead_channels_go_and_both_answers_stay(kind: str, dims: int, head: str) -> None:
    """Exact: what no layer hears can be left out, and nothing else is."""
    plan = configuration(kind, dims)
    wide = built(plan, HEADS[head], 1.0)
    with_dead_half(wide, seed=3)
    narrow = pruned(plan, wide, HEADS[head])
    image = torch.randn(2, 2, *plan.patch_size, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        expected, found = wide(image), narrow(image)
    torch.testing.assert_close(found.segmentation[0], expected.segmentation[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(
        found.case_logits["type"], expected.case_logits["type"], atol=1e-5, rtol=0
    )
    assert expected.segmentation[0].std() > 1e-3


def test_second_moments_go_with_their_channels() -> None:
    """The deviation of a dead channel is not 0 but its floor, 1e-3, so this is nearly exact."""
    plan = configuration("plain", 3)
    wide = built(plan, WITH_MOMENTS, 1.0)
    with torch.no_grad():
        wide.heads["task:type"].readout.perceptron[-1].weight.mul_(100)
    with_dead_half(wide, seed=3)
    narrow = pruned(plan, wide, WITH_MOMENTS)
    image = torch.randn(4, 2, *plan.patch_size, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        expected, found = (n(image).case_logits["type"] for n in (wide, narrow))
    assert (found - expected).abs().max() < 0.02 * expected.abs().max()


@pytest.mark.parametrize("kind", ["plain", "residual"])
def test_the_network_really_is_smaller(kind: str) -> None:
    """Half the channels: about a quarter of the weights and of the arithmetic."""
    plan = configuration(kind, 3)
    wide = built(plan, HEADS["mask_pooled"], 1.0)
    narrow = pruned(plan, wide, HEADS["mask_pooled"])
    sizes = [sum(p.numel() for p in n.encoder.parameters()) for n in (narrow, wide)]
    assert sizes[0] / sizes[1] == pytest.approx(0.25, abs=0.06)
    work = [operations(network, plan) for network in (narrow, wide)]
    assert work[0] / work[1] == pytest.approx(0.25, abs=0.06)


def operations(network: JointNetwork, plan: ConfigurationPlan) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, 2, *plan.patch_size))
    return counter.get_total_flops()


def test_the_strongest_channels_are_kept_and_the_wide_network_is_left_alone() -> None:
    plan = configuration("plain", 3)
    wide = built(plan, HEADS["gem"], 1.0)
    first = wide.encoder.stages[0][0].convs[0].conv
    with torch.no_grad():
        wide.encoder.stages[0][0].convs[0].norm.weight[[1, 3]] *= 100
    before = {name: tensor.clone() for name, tensor in wide.state_dict().items()}
    narrow = pruned(plan, wide, HEADS["gem"])
    kept = narrow.encoder.stages[0][0].convs[0].conv.weight
    torch.testing.assert_close(kept, first.weight[[1, 3]])
    assert all(torch.equal(wide.state_dict()[name], before[name]) for name in before)


def test_lower_resolutions_are_pruned_with_the_rest() -> None:
    """Deep supervision's layers, which fine-tuning needs."""
    plan = configuration("plain", 3)
    wide = built(plan, HEADS["gem"], 1.0)
    with_dead_half(wide, seed=3)
    narrow = pruned(plan, wide, HEADS["gem"])
    wide.deep_supervision = narrow.deep_supervision = True
    image = torch.randn(1, 2, *plan.patch_size)
    with torch.no_grad():
        expected, found = wide(image).segmentation, narrow(image).segmentation
    assert len(found) == len(expected) == 2
    torch.testing.assert_close(found[1], expected[1], atol=1e-5, rtol=0)


def test_a_gate_over_all_channels_cannot_be_narrowed() -> None:
    plan = tiny_configuration((16, 16), features=(32, 64, 96))
    head = HeadConfig(kind="gem", hidden=(8,), channel_attention=True)
    with pytest.raises(RequestError, match="channel_attention"):
        pruned(plan, built(plan, head, 1.0), head)
