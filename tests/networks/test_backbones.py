import pytest
import torch

from segduet.core.errors import RequestError
from segduet.core.plan import ConfigurationPlan
from segduet.networks.backbone_config import (
    BackboneConfig,
    PlannedConfig,
    QuickNATConfig,
    ResNet18Config,
    SoftQuickFCNConfig,
    StandaloneUNetConfig,
)
from segduet.networks.backbones import Backbone, build_backbone
from segduet.networks.quicknat import QuickNATDecoder
from segduet.networks.registry import build_unet
from segduet.networks.resnet import ResNet18Encoder
from segduet.networks.soft_quickfcn import SoftQuickFCNEncoder
from segduet.networks.standalone_unet import StandaloneDecoder, StandaloneEncoder
from tiny_plans import tiny_configuration

TINY = {"num_filters": 3, "kernel_size": 3, "levels": 2}


def configuration(*patch: int) -> ConfigurationPlan:
    return tiny_configuration(patch, strides=[1, [2] * (len(patch) - 1) + [1], 2])


def build(config: BackboneConfig, *patch: int, deep_supervision: bool = False) -> Backbone:
    torch.manual_seed(2)
    return build_backbone(
        config,
        configuration=configuration(*patch),
        num_channels=2,
        num_outputs=3,
        deep_supervision=deep_supervision,
    )


def test_as_planned_is_the_plans_network_bit_for_bit():
    """F13."""
    backbone = build(PlannedConfig(), 8, 8, deep_supervision=True)
    torch.manual_seed(2)
    unet = build_unet(
        configuration(8, 8).architecture, num_channels=2, num_outputs=3, deep_supervision=True
    )
    ours = {
        **backbone.encoder.state_dict(prefix="encoder."),
        **backbone.decoder.state_dict(prefix="decoder."),
    }
    assert ours.keys() == unet.state_dict().keys()
    assert all(torch.equal(ours[key], value) for key, value in unet.state_dict().items())
    assert backbone.decoder.deep_supervision is True
    assert backbone.num_spatial_dims == 2


def test_width_and_depth_act():
    """F20."""
    assert build(PlannedConfig(width_factor=2), 8, 8).encoder.output_channels == [8, 12, 16]
    plain, deep = (build(PlannedConfig(extra_depth=n), 8, 8).encoder for n in (0, 1))
    convolutions = [
        sum(isinstance(m, torch.nn.Conv2d) for m in network.modules()) for network in (plain, deep)
    ]
    assert convolutions[1] == convolutions[0] + 3


@pytest.mark.parametrize(
    ("config", "patch", "encoder", "decoder"),
    [
        (
            StandaloneUNetConfig(base_filters=2, levels=2),
            (4, 8, 4),
            StandaloneEncoder,
            StandaloneDecoder,
        ),
        (SoftQuickFCNConfig(**TINY), (9, 10), SoftQuickFCNEncoder, QuickNATDecoder),
        (ResNet18Config(), (40, 33), ResNet18Encoder, type(None)),
    ],
)
def test_each_kind_builds_its_parts(config, patch, encoder, decoder):
    """F15, F23, F25."""
    backbone = build(config, *patch)
    assert type(backbone.encoder) is encoder
    assert type(backbone.decoder) is decoder
    assert backbone.num_spatial_dims == len(patch)


@pytest.mark.parametrize(
    ("config", "patch"),
    [
        (StandaloneUNetConfig(), (32, 32)),
        (QuickNATConfig(), (32, 32, 32)),
        (SoftQuickFCNConfig(), (32, 32, 32)),
        (ResNet18Config(), (32, 64, 64)),
    ],
)
def test_a_network_of_the_other_dimension_is_refused(config, patch):
    ours = config.num_spatial_dims
    message = rf"backbone {config.kind}: found a {5 - ours}D .* expected a {ours}D configuration"
    with pytest.raises(RequestError, match=message):
        build(config, *patch)


@pytest.mark.parametrize(
    ("config", "patch", "strides"),
    [
        (PlannedConfig(), (8, 7), r"\[4, 2\]"),
        (StandaloneUNetConfig(base_filters=2), (32, 48, 40), r"\[16, 16, 16\]"),
    ],
)
def test_a_patch_the_strides_do_not_divide_is_refused(config, patch, strides):
    with pytest.raises(RequestError, match=rf"patch \[.*multiples of .* {strides}"):
        build(config, *patch)


@pytest.mark.parametrize(
    ("config", "patch", "left"),
    [
        (QuickNATConfig(**TINY), (3, 40), r"\[0, 10\]"),
        (QuickNATConfig(**TINY), (7, 7), r"\[1, 1\]"),
        (StandaloneUNetConfig(levels=2), (4, 4, 4), r"\[1, 1, 1\]"),
        (ResNet18Config(), (32, 32), r"\[1, 1\]"),
    ],
)
def test_a_patch_too_small_for_statistics_is_refused(config, patch, left):
    with pytest.raises(RequestError, match=rf"poolings leave {left}; expected at least two"):
        build(config, *patch)


@pytest.mark.parametrize(
    ("config", "patch"),
    [
        (QuickNATConfig(**TINY), (4, 8)),
        (SoftQuickFCNConfig(**TINY), (8, 7)),
        (StandaloneUNetConfig(base_filters=2, levels=2), (4, 4, 8)),
        (ResNet18Config(), (33, 32)),
    ],
)
def test_the_smallest_patch_trains_alone_in_its_batch(config, patch):
    """Two positions in the deepest map are enough for a batch of one."""
    encoder = build(config, *patch).encoder.train()
    image = torch.randn(1, 2, *patch, generator=torch.Generator().manual_seed(0))
    features = encoder(image)
    deepest = features[-1] if isinstance(features, list) else features.for_cases[-1]
    deepest.square().sum().backward()
    assert torch.isfinite(deepest).all()
