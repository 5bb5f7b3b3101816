"""Views of a network for converters: plain tensors, in the agreed order, and its strides."""

import pytest
import torch

from segduet.core.labels import LabelScheme
from segduet.core.runtime import heads_outputs, window_outputs
from segduet.core.tasks import TaskSpec
from segduet.networks.backbone_config import ResNet18Config, SoftQuickFCNConfig
from segduet.networks.config import HeadConfig
from segduet.networks.export_views import HeadsView, WindowView, total_strides
from segduet.networks.joint import JointNetwork, build_joint_network
from tiny_plans import tiny_configuration

LABELS = LabelScheme.from_dataset_json({"background": 0, "lesion": 1}, None, where="test")
TASKS = (
    TaskSpec(name="type", classes=("a", "b", "c")),
    TaskSpec(name="grade", classes=("low", "high")),
)


def build(patch=(8, 16), *, strides=None, **more) -> JointNetwork:
    torch.manual_seed(0)
    return build_joint_network(
        configuration=tiny_configuration(patch, strides=strides), num_channels=1, labels=LABELS,
        tasks=TASKS, head=more.pop("head", HeadConfig()), deep_supervision=False, **more,
    ).eval()  # fmt: skip


def test_views_together_answer_as_the_network():
    network, image = build(), torch.randn(2, 1, 8, 16, generator=torch.Generator().manual_seed(1))
    shares = torch.rand(2, 1, 8, 16, generator=torch.Generator().manual_seed(2))
    whole = network(image, shares)
    names = window_outputs(2, with_masks=True)
    parts = dict(zip(names, WindowView(network)(image, shares), strict=True))
    assert torch.equal(parts["logits"], whole.segmentation[0])
    assert torch.equal(parts["sums_1"], whole.case_sums["grade"])
    assert torch.equal(parts["evidence_0"], whole.evidence["type"])
    answers = HeadsView(network)(parts["sums_0"], parts["sums_1"])
    named = dict(zip(heads_outputs(2), answers, strict=True))
    assert torch.equal(named["logits_0"], whole.case_logits["type"])
    assert torch.equal(named["logits_1"], whole.case_logits["grade"])
    assert torch.equal(named["features_1"], network.answer(whole.case_sums)["grade"].features)


def test_a_network_without_masks_gives_no_logits():
    network = build(with_masks=False, head=HeadConfig(kind="gem"))
    parts = WindowView(network)(torch.zeros(1, 1, 8, 16), torch.ones(1, 1, 8, 16))
    assert len(parts) == len(window_outputs(2, with_masks=False)) == 4


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (build, [4, 4]),
        (lambda: build((4, 12, 8), strides=[[1] * 3, [1, 2, 2], [1, 3, 2]]), [1, 6, 4]),
        (lambda: build(backbone=SoftQuickFCNConfig(num_filters=2, levels=2)), [4, 4]),
        (
            lambda: build(
                (64, 64), backbone=ResNet18Config(), with_masks=False, head=HeadConfig(kind="gem")
            ),
            [32, 32],
        ),
    ],
)
def test_total_strides_leave_the_network_alone(network, expected):
    """Worked out from the plans by hand; measuring them must not touch the weights.

    nnU-Net's encoders state their strides, the others are measured.
    """
    network = network()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    assert total_strides(network, 1, len(expected)) == tuple(expected)
    assert all(torch.equal(before[name], t) for name, t in network.state_dict().items())


def test_what_an_encoder_states_is_what_is_measured():
    network = build((4, 12, 8), strides=[[1] * 3, [1, 2, 2], [1, 3, 2]])
    stated = total_strides(network, 1, 3)
    del network.encoder.strides
    assert total_strides(network, 1, 3) == stated == (1, 6, 4)
