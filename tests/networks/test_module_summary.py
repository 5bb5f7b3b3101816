"""F97: the module tree of real networks, with the shapes of a pass."""

import pytest
import torch
from torch import nn

from segduet.core.labels import LabelScheme
from segduet.core.tasks import TaskSpec
from segduet.networks.backbone_config import QuickNATConfig, ResNet18Config
from segduet.networks.config import HeadConfig
from segduet.networks.joint import JointNetwork, build_joint_network
from segduet.networks.module_summary import summarize_network
from segduet.reporting.network_diagram import network_svg
from tiny_plans import tiny_configuration

LABELS = LabelScheme.from_dataset_json({"background": 0, "organ": 1}, None, where="test")
TASKS = [TaskSpec(name="kind.of", classes=("a", "b", "c"))]


def network(head: str = "mask_pooled", backbone=None, patch=(8, 8)) -> JointNetwork:
    return build_joint_network(
        configuration=tiny_configuration(patch),
        num_channels=2,
        labels=LABELS,
        tasks=TASKS,
        head=HeadConfig(kind=head, hidden=(8,)),
        deep_supervision=False,
        backbone=backbone,
    )


@pytest.mark.parametrize(
    ("backbone", "patch"),
    [
        (None, (8, 8)),
        (QuickNATConfig(num_filters=4, kernel_size=3, levels=2), (9, 10)),
        (ResNet18Config(), (40, 35)),
    ],
)
def test_every_parameter_is_counted_once(backbone, patch) -> None:
    """Shared parameters included (QuickNAT's blocks share one)."""
    head = "bottleneck" if isinstance(backbone, ResNet18Config) else "mask_pooled"
    net = network(head, backbone, patch)
    summary = summarize_network(net, num_channels=2, patch=patch)
    total = sum(p.numel() for p in net.parameters())
    assert summary.num_parameters == total
    assert sum(block.num_parameters for block in summary.blocks) == total


def test_shapes_and_blocks_are_those_of_the_pass() -> None:
    """By hand: stages of 4, 6 and 8 channels that halve an 8 x 8 patch twice; 3 classes."""
    summary = summarize_network(network(), num_channels=2, patch=(8, 8))
    blocks = {block.name: block for block in summary.blocks}
    assert summary.input_shape == (2, 8, 8)
    assert [blocks[f"encoder.stages.{i}.0"].output_shape for i in range(3)] == [
        (4, 8, 8),
        (6, 4, 4),
        (8, 2, 2),
    ]
    assert blocks["heads.task:kind%2Eof"].output_shape == (3,)
    assert blocks["decoder.seg_layers.1"].output_shape == (2, 8, 8)
    # the lower resolutions exist, but deep supervision is off
    assert blocks["decoder.seg_layers.0"].output_shape == ()
    order = [block.part for block in summary.blocks if block.output_shape]
    assert order.index("decoder") > order.index("encoder")
    first = next(m for m in summary.modules if m.name == "encoder.stages.0.0.convs.0.conv")
    assert (first.kind, first.num_parameters) == ("Conv2d", 4 * 2 * 9 + 4)


def test_another_head_is_another_summary() -> None:
    plain = summarize_network(network("bottleneck"), num_channels=2, patch=(8, 8))
    attending = summarize_network(network("attention"), num_channels=2, patch=(8, 8))
    assert {m.kind for m in attending.modules} != {m.kind for m in plain.modules}
    assert [b for b in attending.blocks if b.part == "encoder"] == [
        b for b in plain.blocks if b.part == "encoder"
    ]
    # and another picture, which says how large the head is
    assert network_svg(attending, "x") != network_svg(plain, "x")
    (head,) = (b for b in attending.blocks if b.part.startswith("heads."))
    assert f"3; {head.num_parameters:,} parameters" in network_svg(attending, "x")


def test_the_network_is_left_as_it_was() -> None:
    """No hook stays, no running statistic moves, training mode is kept."""
    net = network(backbone=QuickNATConfig(num_filters=4, kernel_size=3, levels=2), patch=(9, 10))
    net.train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    summarize_network(net, num_channels=2, patch=(9, 10))
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not any(module._forward_hooks for module in net.modules())


def test_a_module_without_a_pass_says_so() -> None:
    class Idle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.idle = nn.Conv2d(1, 2, 1), nn.Linear(3, 4)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return self.used(image)

    summary = summarize_network(Idle(), num_channels=1, patch=(5, 6))
    assert [(b.name, b.output_shape, b.num_parameters) for b in summary.blocks] == [
        ("used", (2, 5, 6), 4),
        ("idle", (), 16),
    ]
