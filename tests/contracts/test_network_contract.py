"""What every network and every head must do; a new one joins by a line in `BACKBONES`.

Requirement ids: F12 (one encoder pass, gradients of each loss), F13 (equal to
dynamic_network_architectures), F16 (dropout), F03 (region outputs), B11 (stock weights).
"""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

from segduet.core.labels import LabelScheme
from segduet.core.plan import ConfigurationPlan
from segduet.core.tasks import TaskSpec
from segduet.networks.config import HeadConfig
from segduet.networks.evidence import EvidenceRegion
from segduet.networks.heads.head import build_head
from segduet.networks.heads.inputs import FeatureWidths
from segduet.networks.heads.registry import HEADS
from segduet.networks.joint import JointNetwork, build_joint_network
from segduet.networks.registry import ARCHITECTURES
from tiny_plans import tiny_configuration

UNET = "dynamic_network_architectures.architectures.unet"
WIDTHS = [4, 6, 8]
LABELS = LabelScheme.from_dataset_json(
    {"background": 0, "organ": 1, "lesion": 2}, None, where="test"
)
REGIONS = LabelScheme.from_dataset_json(
    {"background": 0, "whole": [1, 2], "lesion": 2}, [1, 2], where="test"
)
TASKS = (
    TaskSpec(name="type", classes=("a", "b", "c"), evidence_region="lesion"),
    TaskSpec(name="grade.v2", classes=("low", "high")),
)


@dataclass(frozen=True)
class Backbone:
    """A planned network and a window it accepts (odd wherever its strides allow)."""

    class_name: str
    dims: int
    window: tuple[int, ...]
    strides: list[list[int]]

    @property
    def configuration(self) -> ConfigurationPlan:
        return tiny_configuration(
            self.window, features=WIDTHS, strides=self.strides, class_name=self.class_name
        )


PLANE = [[1, 1], [2, 2], [2, 1]]
SPACE = [[1, 1, 1], [1, 2, 2], [2, 2, 1]]
MOVED = "dynamic_network_architectures.architectures.residual_unet.ResidualEncoderUNet"
BACKBONES = {
    "plain_2d": Backbone(f"{UNET}.PlainConvUNet", 2, (12, 10), PLANE),
    "plain_3d": Backbone(f"{UNET}.PlainConvUNet", 3, (6, 12, 10), SPACE),
    "residual_2d": Backbone(f"{UNET}.ResidualEncoderUNet", 2, (12, 10), PLANE),
    "residual_3d": Backbone(f"{UNET}.ResidualEncoderUNet", 3, (6, 12, 10), SPACE),
    "residual_old_name": Backbone(MOVED, 2, (12, 10), PLANE),
    "odd_2d": Backbone(f"{UNET}.PlainConvUNet", 2, (13, 10), [[1, 1], [1, 2], [1, 1]]),
    "odd_3d": Backbone(f"{UNET}.PlainConvUNet", 3, (5, 9, 4), [[1, 1, 1], [1, 3, 2], [1, 1, 2]]),
}


def test_every_registered_network_is_under_contract() -> None:
    assert {b.class_name for b in BACKBONES.values()} == set(ARCHITECTURES)


def build(
    backbone: Backbone,
    *,
    kind: str = "mask_pooled",
    tasks: tuple[TaskSpec, ...] = TASKS,
    labels: LabelScheme = LABELS,
    deep_supervision: bool = False,
) -> JointNetwork:
    torch.manual_seed(3)
    return build_joint_network(
        configuration=backbone.configuration,
        num_channels=2,
        labels=labels,
        tasks=tasks,
        head=HeadConfig(kind=kind, hidden=(8,)),
        deep_supervision=deep_supervision,
    )


def image_for(backbone: Backbone, batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, 2, *backbone.window, generator=torch.Generator().manual_seed(7))


def stock_network(backbone: Backbone, *, num_outputs: int, deep_supervision: bool) -> Any:
    plan = backbone.configuration.architecture
    name = plan.network_class_name.replace("residual_unet", "unet")  # nnU-Net warns about the old
    torch.manual_seed(3)
    return get_network_from_plans(
        name, plan.arch_kwargs, plan.kw_requires_import, 2, num_outputs, True, deep_supervision
    )


def encoder_gradient(network: JointNetwork) -> float:
    gradients = [p.grad for p in network.encoder.parameters() if p.grad is not None]
    return sum(float(g.abs().sum()) for g in gradients)


@pytest.fixture(params=BACKBONES)
def backbone(request: pytest.FixtureRequest) -> Backbone:
    return BACKBONES[request.param]


@pytest.mark.parametrize("kind", ["bottleneck", "mask_pooled"])
class TestWithHeads:
    """Each network with a head that reads one stage and one that reads several and the mask."""

    def test_outputs_have_the_promised_shapes(self, backbone: Backbone, kind: str) -> None:
        outputs = build(backbone, kind=kind).eval()(image_for(backbone))
        assert [tuple(s.shape) for s in outputs.segmentation] == [(2, 3, *backbone.window)]
        assert {t: tuple(v.shape) for t, v in outputs.case_logits.items()} == {
            "type": (2, 3),
            "grade.v2": (2, 2),
        }
        for value in (*outputs.case_logits.values(), *outputs.evidence.values()):
            assert value.dtype == torch.float32
            assert torch.isfinite(value).all()

    def test_evidence_counts_probable_voxels_and_has_no_gradient(
        self, backbone: Backbone, kind: str
    ) -> None:
        outputs = build(backbone, kind=kind)(image_for(backbone))
        probabilities = torch.softmax(outputs.segmentation[0], 1)
        lesion = (probabilities[:, 2] > 0.5).flatten(1).sum(1).float()
        foreground = (probabilities[:, 1:].sum(1) > 0.5).flatten(1).sum(1).float()
        torch.testing.assert_close(outputs.evidence["type"], lesion)
        torch.testing.assert_close(outputs.evidence["grade.v2"], foreground)
        assert not any(e.requires_grad for e in outputs.evidence.values())

    def test_encoder_runs_once_per_forward(self, backbone: Backbone, kind: str) -> None:
        """F12, against the first seed's double pass."""
        network = build(backbone, kind=kind, deep_supervision=True)
        calls = []
        network.encoder.register_forward_hook(lambda *_: calls.append(1))
        network(image_for(backbone))
        assert len(calls) == 1

    def test_each_loss_alone_reaches_the_encoder(self, backbone: Backbone, kind: str) -> None:
        """F12."""
        network = build(backbone, kind=kind)
        for answer in ("segmentation", *network.tasks):
            network.zero_grad()
            outputs = network(image_for(backbone))
            wanted = {"segmentation": outputs.segmentation[0], **outputs.case_logits}[answer]
            wanted.square().mean().backward()
            assert encoder_gradient(network) > 0, answer

    def test_isolated_heads_learn_while_the_encoder_gets_nothing(
        self, backbone: Backbone, kind: str
    ) -> None:
        """F35: exactly 0 for the encoder, not 0 for the head."""
        network = build(backbone, kind=kind)
        network.isolate_heads = True
        outputs = network(image_for(backbone))
        sum(v.square().mean() for v in outputs.case_logits.values()).backward()
        assert encoder_gradient(network) == 0
        for parameter in network.heads.parameters():
            assert parameter.grad is not None
        assert all(
            any(p.grad.abs().sum() > 0 for p in head.parameters())
            for head in network.heads.values()
        )
        outputs = network(image_for(backbone))
        outputs.segmentation[0].square().mean().backward()
        assert encoder_gradient(network) > 0

    def test_state_dict_restores_the_same_answers(self, backbone: Backbone, kind: str) -> None:
        network = build(backbone, kind=kind).eval()
        torch.manual_seed(99)
        restored = build_joint_network(
            configuration=backbone.configuration,
            num_channels=2,
            labels=LABELS,
            tasks=TASKS,
            head=HeadConfig(kind=kind, hidden=(8,)),
            deep_supervision=False,
        ).eval()
        image = image_for(backbone)
        before, other = network(image), restored(image)
        assert not torch.equal(before.case_logits["type"], other.case_logits["type"])
        restored.load_state_dict(network.state_dict())
        after = restored(image)
        assert torch.equal(before.segmentation[0], after.segmentation[0])
        assert all(torch.equal(v, after.case_logits[t]) for t, v in before.case_logits.items())

    def test_dropout_acts_in_training_only(self, backbone: Backbone, kind: str) -> None:
        """F16: evaluation is deterministic."""
        network, image = build(backbone, kind=kind), image_for(backbone)
        torch.manual_seed(0)
        training = [network(image).case_logits["type"] for _ in range(2)]
        assert not torch.equal(*training)
        network.eval()
        first, second = network(image), network(image)
        assert torch.equal(first.case_logits["type"], second.case_logits["type"])
        assert torch.equal(first.segmentation[0], second.segmentation[0])

    def test_a_batch_answers_as_its_windows_alone(self, backbone: Backbone, kind: str) -> None:
        network, image = build(backbone, kind=kind).eval(), image_for(backbone, batch=3)
        together = network(image)
        alone = [network(image[i : i + 1]) for i in range(3)]
        for task, logits in together.case_logits.items():
            torch.testing.assert_close(logits, torch.cat([a.case_logits[task] for a in alone]))
            evidence = torch.cat([a.evidence[task] for a in alone])
            torch.testing.assert_close(together.evidence[task], evidence)


#: Every kind of head, with and without what can be added to it.
HEAD_CONFIGS = {
    **{kind: HeadConfig(kind=kind, hidden=(8,)) for kind in HEADS},
    "bottleneck, gated channels": HeadConfig(
        kind="bottleneck", hidden=(8,), channel_attention=True
    ),
    "gem, gated": HeadConfig(
        kind="gem", hidden=(8,), spatial_attention=True, decoder_features=True
    ),
    "mask_pooled, gated": HeadConfig(hidden=(8,), spatial_attention=True, mask_gradient=True),
    "attention, guided": HeadConfig(
        kind="attention", hidden=(8,), mask_guided=True, mask_gradient=True, stages=(0, 2), width=8
    ),
}
WITHOUT_DECODER = ("bottleneck", "gem", "attention", "bottleneck, gated channels")
SMALL = {2: BACKBONES["plain_2d"], 3: BACKBONES["plain_3d"]}


@pytest.mark.parametrize("dims", SMALL)
@pytest.mark.parametrize("name", HEAD_CONFIGS)
class TestEveryHead:
    """Each head, with its options, in 2D and in 3D."""

    def build(self, name: str, dims: int) -> JointNetwork:
        torch.manual_seed(3)
        return build_joint_network(
            configuration=SMALL[dims].configuration,
            num_channels=2,
            labels=LABELS,
            tasks=TASKS,
            head=HEAD_CONFIGS[name],
            deep_supervision=False,
        )

    def test_a_loss_reaches_every_parameter_of_the_head(self, name: str, dims: int) -> None:
        """F17, F18: twice, since gates that start at zero hold back what lies before them."""
        network = self.build(name, dims)
        with torch.no_grad():
            for parameter in network.heads.parameters():
                parameter.add_(0.05)
        outputs = network(image_for(SMALL[dims]))
        sum(v.square().mean() for v in outputs.case_logits.values()).backward()
        silent = [n for n, p in network.heads.named_parameters() if p.grad is None]
        assert silent == []
        assert encoder_gradient(network) > 0

    def test_state_dict_restores_the_same_answers(self, name: str, dims: int) -> None:
        network, image = self.build(name, dims), image_for(SMALL[dims])
        network(image)  # running statistics
        network.eval()
        restored = self.build(name, dims).eval()
        with torch.no_grad():
            for parameter in restored.parameters():
                parameter.zero_()
        restored.load_state_dict(network.state_dict())
        for task, logits in network(image).case_logits.items():
            assert torch.equal(restored(image).case_logits[task], logits)

    def test_sums_of_disjoint_voxels_add_up(self, name: str, dims: int) -> None:
        """F64: one half of the voxels and the other, weighed apart, are the whole."""
        network, image = self.build(name, dims).eval(), image_for(SMALL[dims])
        generator = torch.Generator().manual_seed(1)
        shares = torch.rand(2, 1, *image.shape[2:], generator=generator)
        whole = network(image)
        one, other = network(image, shares), network(image, 1 - shares)
        for task, sums in whole.case_sums.items():
            added = one.case_sums[task] + other.case_sums[task]
            torch.testing.assert_close(added, sums, rtol=1e-4, atol=1e-4)
            assert not torch.allclose(one.case_logits[task], whole.case_logits[task], atol=1e-7)
        answers = network.answer(whole.case_sums)
        for task, logits in whole.case_logits.items():
            assert torch.equal(answers[task].logits, logits)

    def test_attention_sums_to_one(self, name: str, dims: int) -> None:
        """F18: over a window that is the whole case; all but plain averages attend."""
        network, image = self.build(name, dims).eval(), image_for(SMALL[dims])
        shares = torch.ones(2, 1, *image.shape[2:])
        maps = network.attend(image, shares, network(image).case_sums)
        attends = name.startswith(("mask_pooled", "attention")) or name == "gem, gated"
        assert set(maps) == ({t.name for t in TASKS} if attends else set())
        for weights in maps.values():
            assert weights.shape == shares.shape
            assert weights.min() >= 0
            torch.testing.assert_close(weights.flatten(1).sum(1), torch.ones(2))

    def test_half_precision_answers_stay_close_and_finite(self, name: str, dims: int) -> None:
        """F67: sums are float32 whatever the network computes in."""
        network, image = self.build(name, dims).eval(), image_for(SMALL[dims])
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rounded = network(image)
        for task, logits in network(image).case_logits.items():
            assert rounded.case_sums[task].dtype == torch.float32
            torch.testing.assert_close(rounded.case_logits[task], logits, atol=0.05, rtol=0.1)


@pytest.mark.parametrize("dims", SMALL)
@pytest.mark.parametrize("name", WITHOUT_DECODER)
def test_a_network_without_decoder_classifies(name: str, dims: int) -> None:
    """B05: no masks, evidence 0, gradients reach the encoder; switches for masks do nothing."""
    whole = build(SMALL[dims])
    widths = FeatureWidths(stages=tuple(WIDTHS), decoder=None)
    network = JointNetwork(
        whole.encoder,
        None,
        heads={t.name: build_head(HEAD_CONFIGS[name], widths, t.num_outputs) for t in TASKS},
        regions={t.name: EvidenceRegion.of_task(t, LABELS) for t in TASKS},
    )
    network.deep_supervision = True
    outputs = network(image_for(SMALL[dims]))
    assert network.deep_supervision is False
    assert outputs.segmentation == ()
    assert {t: v.shape[1] for t, v in outputs.case_logits.items()} == {"type": 3, "grade.v2": 2}
    assert all(not e.any() for e in outputs.evidence.values())
    sum(v.square().mean() for v in outputs.case_logits.values()).backward()
    assert encoder_gradient(network) > 0


class TestBesideTheStockNetwork:
    """Each network against dynamic_network_architectures and nnU-Net's own builder."""

    @pytest.mark.parametrize("deep_supervision", [True, False])
    def test_segmentation_equals_the_stock_network_bit_for_bit(
        self, backbone: Backbone, deep_supervision: bool
    ) -> None:
        """F12, F13: same seed, same start, same logits at every resolution, with heads or not."""
        stock = stock_network(backbone, num_outputs=3, deep_supervision=deep_supervision)
        image = image_for(backbone)
        expected = stock(image)
        expected = expected if deep_supervision else [expected]
        for tasks in ((), TASKS):
            ours = build(backbone, tasks=tasks, deep_supervision=deep_supervision)(image)
            assert len(ours.segmentation) == len(expected) == (2 if deep_supervision else 1)
            for mine, theirs in zip(ours.segmentation, expected, strict=True):
                assert torch.equal(mine, theirs)

    def test_parameter_count_without_heads_equals_the_stock_network(
        self, backbone: Backbone
    ) -> None:
        """F13."""
        stock = stock_network(backbone, num_outputs=3, deep_supervision=False)
        ours = build(backbone, tasks=())
        assert sum(p.numel() for p in ours.parameters()) == sum(
            p.numel() for p in stock.parameters()
        )
        assert list(ours.state_dict()) == list(stock.state_dict())

    def test_weights_go_to_the_stock_network_and_back(self, backbone: Backbone) -> None:
        """B11: our U-Net part loads strictly into nnU-Net's network."""
        network = build(backbone).eval()
        stock = stock_network(backbone, num_outputs=3, deep_supervision=False).eval()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(0.01)
        parts = ("encoder.", "decoder.")
        weights = {k: v for k, v in network.state_dict().items() if k.startswith(parts)}
        stock.load_state_dict(weights, strict=True)
        image = image_for(backbone)
        assert torch.equal(stock(image), network(image).segmentation[0])

    def test_regions_have_one_channel_each(self, backbone: Backbone) -> None:
        """F03: sigmoid channels without background; any foreground is the larger of the two."""
        outputs = build(backbone, labels=REGIONS).eval()(image_for(backbone))
        probabilities = torch.sigmoid(outputs.segmentation[0])
        assert probabilities.shape[1] == 2
        inner = (probabilities[:, 1] > 0.5).flatten(1).sum(1).float()
        either = (probabilities.amax(1) > 0.5).flatten(1).sum(1).float()
        torch.testing.assert_close(outputs.evidence["type"], inner)
        torch.testing.assert_close(outputs.evidence["grade.v2"], either)
        assert either.sum() > 0

    def test_without_tasks_there_are_no_case_answers(self, backbone: Backbone) -> None:
        outputs = build(backbone, tasks=())(image_for(backbone))
        assert outputs.case_logits == {}
        assert outputs.evidence == {}
