"""Every backbone in the joint network that trainer and predictor see (F15, F21-F27)."""

from typing import get_args

import pytest
import torch

from segduet.core.labels import LabelScheme
from segduet.core.tasks import TaskSpec
from segduet.networks.backbone_config import (
    BackboneConfig,
    PlannedConfig,
    QuickNATConfig,
    ResNet18Config,
    SoftQuickFCNConfig,
    StandaloneUNetConfig,
)
from segduet.networks.config import HeadConfig
from segduet.networks.cross_stitch import is_cross_stitch
from segduet.networks.joining import join_pretrained
from segduet.networks.joint import JointNetwork, build_joint_network
from tiny_plans import tiny_configuration

LABELS = LabelScheme.from_dataset_json(
    {"background": 0, "pancreas": 1, "lesion": 2}, None, where="test"
)
TASKS = [TaskSpec(name="subtype", classes=("0", "1", "2"))]
PLAIN = HeadConfig(kind="bottleneck", hidden=(8,), dropout=0.0)
POOLED = HeadConfig(kind="mask_pooled", hidden=(8,), dropout=0.0)
DENSE = {"num_filters": 4, "kernel_size": 3, "levels": 2, "dropout": 0.0}
BACKBONES: dict[str, tuple[BackboneConfig, HeadConfig, tuple[int, ...]]] = {
    "planned": (PlannedConfig(width_factor=1.5, extra_depth=1), POOLED, (8, 8)),
    "standalone_unet": (StandaloneUNetConfig(base_filters=2, levels=2), POOLED, (4, 8, 4)),
    "quicknat": (QuickNATConfig(**DENSE, squeeze_excite="channel_spatial"), POOLED, (9, 10)),
    "quickfcn": (QuickNATConfig(**DENSE), PLAIN, (9, 10)),
    "soft_quickfcn": (SoftQuickFCNConfig(**DENSE), POOLED, (9, 10)),
    "resnet18": (ResNet18Config(), PLAIN, (40, 35)),
}


def build(
    name: str,
    seed: int = 3,
    head: HeadConfig | None = None,
    *,
    with_masks: bool = True,
    **changes,
) -> JointNetwork:
    config, default_head, patch = BACKBONES[name]
    torch.manual_seed(seed)
    return build_joint_network(
        configuration=tiny_configuration(patch),
        num_channels=1,
        labels=LABELS,
        tasks=TASKS,
        head=head or default_head,
        deep_supervision=True,
        backbone=config.model_copy(update=changes),
        with_masks=with_masks,
    )


def image(name: str, batch: int = 2) -> torch.Tensor:
    patch = BACKBONES[name][2]
    return torch.randn(batch, 1, *patch, generator=torch.Generator().manual_seed(7))


def test_every_kind_is_here():
    kinds = {type(config) for config, *_ in BACKBONES.values()}
    union, _discriminator = get_args(BackboneConfig)
    assert kinds == set(get_args(union))


@pytest.mark.parametrize("name", BACKBONES)
def test_answers_have_the_windows_size_and_one_logit_per_class(name):
    """F21: odd sizes; F23: a classifier has no masks."""
    outputs = build(name)(image(name))
    assert tuple(outputs.case_logits["subtype"].shape) == (2, 3)
    assert torch.isfinite(outputs.case_logits["subtype"]).all()
    if name == "resnet18":
        assert outputs.segmentation == ()
    else:
        assert tuple(outputs.segmentation[0].shape) == (2, 3, *BACKBONES[name][2])


@pytest.mark.parametrize("name", BACKBONES)
def test_each_loss_reaches_the_encoder_in_one_pass(name):
    """F24: one encoder for both tasks."""
    network = build(name)
    calls = []
    network.encoder.register_forward_hook(lambda *_: calls.append(1))
    outputs = network(image(name))
    assert len(calls) == 1
    for answer in (*outputs.segmentation[:1], outputs.case_logits["subtype"]):
        network.zero_grad()
        answer.square().mean().backward(retain_graph=True)
        assert (
            sum(
                float(p.grad.abs().sum())
                for p in network.encoder.parameters()
                if p.grad is not None
            )
            > 0
        )


@pytest.mark.parametrize("name", BACKBONES)
def test_a_batch_answers_as_its_windows_alone(name):
    network, windows = build(name).eval(), image(name, 3)
    together = network(windows)
    alone = [network(windows[i : i + 1]) for i in range(3)]
    logits = torch.cat([a.case_logits["subtype"] for a in alone])
    torch.testing.assert_close(together.case_logits["subtype"], logits, rtol=1e-4, atol=1e-5)
    for level, masks in enumerate(together.segmentation):
        parts = torch.cat([a.segmentation[level] for a in alone])
        torch.testing.assert_close(masks, parts, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", BACKBONES)
def test_state_dict_restores_the_same_answers(name):
    network, other = build(name).eval(), build(name, seed=4).eval()
    before = network(image(name))
    assert not torch.equal(other(image(name)).case_logits["subtype"], before.case_logits["subtype"])
    other.load_state_dict(network.state_dict())
    after = other(image(name))
    assert torch.equal(after.case_logits["subtype"], before.case_logits["subtype"])
    assert all(map(torch.equal, after.segmentation, before.segmentation))


def test_the_seeds_network_with_the_seeds_head_has_exactly_its_parameters():
    """F15: 22,970,150; one channel, two labels and background, three subtypes."""
    with torch.device("meta"):
        network = build_joint_network(
            configuration=tiny_configuration([64, 64, 64]),
            num_channels=1,
            labels=LABELS,
            tasks=TASKS,
            head=HeadConfig(kind="bottleneck", hidden=(512, 256), layer_norm=False),
            deep_supervision=False,
            backbone=StandaloneUNetConfig(),
        )
    assert sum(p.numel() for p in network.parameters()) == 22_970_150


@pytest.mark.parametrize("name", ["quickfcn", "soft_quickfcn", "standalone_unet"])
def test_the_classifier_twin_has_the_segmenters_encoder_and_no_decoder(name):
    """F24, F27: names and shapes match, so weights go from either to the other."""
    both, twin = build(name, 1, PLAIN), build(name, 2, PLAIN, with_masks=False)
    assert twin.decoder is None
    assert twin(image(name)).segmentation == ()
    twin.encoder.load_state_dict(both.encoder.state_dict())
    ours, theirs = both.eval().encoder(image(name)), twin.eval().encoder(image(name))
    if name == "soft_quickfcn":
        ours, theirs = ours.for_cases, theirs.for_cases
    assert all(map(torch.equal, ours, theirs))


def test_two_trained_networks_joined_answer_as_they_did():
    """F26: a QuickNAT segmenter and its classifier twin into a SoftQuickFCN."""
    same = {"normalisation": "instance", "squeeze_excite": "none"}
    segmenter = build("quicknat", 1, PLAIN, **same).eval()
    classifier = build("quickfcn", 2, with_masks=False, **same).eval()
    joint = build("soft_quickfcn", 3, PLAIN, stitch_init="identity").eval()
    report = join_pretrained(joint, segmenter.state_dict(), classifier.state_dict())
    window = image("quicknat")
    answer = joint(window)
    assert torch.equal(answer.segmentation[0], segmenter(window).segmentation[0])
    assert torch.equal(answer.case_logits["subtype"], classifier(window).case_logits["subtype"])
    assert set(report.missing) == {k for k in joint.state_dict() if is_cross_stitch(k)}
    assert all(key.startswith("segmentation: heads.") for key in report.unexpected)
    assert report.wrong_shape == {}
