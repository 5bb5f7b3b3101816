"""F64, B05: with a network that sees single voxels, the answer is the case's, however it is cut."""

import numpy as np
import pytest
import torch
from torch import nn

from segduet.core.labels import LabelScheme
from segduet.core.tasks import TaskSpec
from segduet.inference.aggregation import Aggregation
from segduet.inference.answering import CaseKnowledge, answer_case
from segduet.inference.engines.torch_engine import TorchEngine
from segduet.inference.predictor import predict_prepared
from segduet.inference.settings import PredictionSettings
from segduet.networks.config import HeadConfig
from segduet.networks.evidence import EvidenceRegion
from segduet.networks.heads.head import build_head
from segduet.networks.heads.inputs import FeatureWidths
from segduet.networks.joint import JointNetwork

_TASKS = (
    TaskSpec(name="type", classes=("a", "b", "c"), evidence_region="lesion"),
    TaskSpec(name="grade", kind="multilabel", classes=("x", "y")),
)
_LABELS = LabelScheme.from_dataset_json(
    {"background": 0, "organ": 1, "lesion": 2}, None, where="test"
)
_HEADS = {
    "bottleneck": {"channel_attention": True},
    "gem": {"spatial_attention": True},
    "mask_pooled": {"spatial_attention": True, "decoder_features": True},
    "attention": {"mask_guided": True, "width": 8},
}
_SHAPE = (6, 9, 14)


class _Pointwise(nn.Module):
    """Two stages at full resolution, made of 1 x 1 convolutions."""

    output_channels = (4, 6)

    def __init__(self, conv: type[nn.Module]) -> None:
        super().__init__()
        self.first, self.second = conv(2, 4, 1), conv(4, 6, 1)

    def forward(self, x):
        x = torch.tanh(self.first(x))
        return [x, torch.tanh(2 * self.second(x))]


class _PointwiseDecoder(nn.Module):
    def __init__(self, conv: type[nn.Module]) -> None:
        super().__init__()
        self.deep_supervision = False
        self.features, self.to_logits = conv(10, 4, 1), conv(4, 3, 1)

    def decode(self, skips):
        features = torch.tanh(self.features(torch.cat(skips, 1)))
        return (4 * self.to_logits(features),), features


def _network(kind: str, dims: int = 3) -> JointNetwork:
    torch.manual_seed(0)
    conv = nn.Conv2d if dims == 2 else nn.Conv3d
    widths = FeatureWidths(stages=(4, 6), decoder=4)
    config = HeadConfig(kind=kind, hidden=(8,), **_HEADS[kind])
    network = JointNetwork(
        _Pointwise(conv), _PointwiseDecoder(conv),
        heads={t.name: build_head(config, widths, t.num_outputs) for t in _TASKS},
        regions={t.name: EvidenceRegion.of_task(t, _LABELS) for t in _TASKS},
    )  # fmt: skip
    with torch.no_grad():
        for parameter in network.heads.parameters():  # nothing at its neutral start
            parameter.add_(0.3 * torch.randn(parameter.shape))
    return network.eval()


def _image(shape=_SHAPE):
    return np.random.default_rng(3).normal(size=(2, *shape)).astype(np.float32)


def _predict(network, case, patch=(4, 4, 8), dims=3, **changes):
    engine = TorchEngine(network, num_spatial_dims=dims)
    settings = PredictionSettings(**changes)
    return predict_prepared(engine, case, patch_zyx=patch, tasks=_TASKS, settings=settings)


@pytest.mark.parametrize("kind", _HEADS)
@pytest.mark.parametrize(
    ("patch", "changes"),
    [
        (_SHAPE, {}),
        ((4, 4, 8), {}),
        ((4, 4, 8), {"step": 0.25, "tile_batch": 5}),
        ((3, 9, 5), {"step": 1.0}),
        ((8, 12, 16), {}),  # the case padded into one window
        ((8, 12, 16), {"window_multiple": (2, 4, 4)}),  # which shrinks to 6 slices
        ((8, 6, 8), {"window_multiple": (2, 2, 2), "mirror_axes": (0, 2)}),
        ((4, 4, 8), {"mirror_axes": (0, 2)}),
    ],
)
def test_the_answer_does_not_depend_on_the_tiling(kind, patch, changes, prepared):
    """1e-5 from the single pass over the whole case, for every patch, step and mirroring."""
    network, image = _network(kind), _image()
    with torch.no_grad():
        whole = network(torch.from_numpy(image[None]))
        explained = network.answer(whole.case_sums)
    answer = _predict(network, prepared(image), patch, **changes)
    expected = torch.softmax(whole.case_logits["type"][0].double(), 0)
    np.testing.assert_allclose(answer.said.probabilities["type"], expected, atol=1e-5)
    expected = torch.sigmoid(whole.case_logits["grade"][0].double())
    np.testing.assert_allclose(answer.said.probabilities["grade"], expected, atol=1e-5)
    features = explained["type"].features[0]
    np.testing.assert_allclose(answer.said.features["type"], features, atol=1e-4)


@pytest.mark.parametrize("kind", _HEADS)
def test_a_2d_network_answers_for_all_slices_together(kind, prepared):
    image = _image((5, 8, 12))
    small = _predict(_network(kind, 2), prepared(image), (1, 4, 8), dims=2)
    large = _predict(_network(kind, 2), prepared(image), (1, 8, 12), dims=2)
    for task in ("type", "grade"):
        np.testing.assert_allclose(
            small.said.probabilities[task], large.said.probabilities[task], atol=1e-5
        )


@pytest.mark.parametrize("rule", [Aggregation.EVIDENCE, Aggregation.MEAN, Aggregation.MAX])
def test_windows_that_answer_by_themselves_do_depend_on_the_tiling(rule, prepared):
    """Otherwise the test above could not fail."""
    network, image = _network("mask_pooled"), _image()
    small, large = (
        _predict(network, prepared(image), patch, aggregation=rule) for patch in ((4, 4, 8), _SHAPE)
    )
    assert np.abs(small.said.probabilities["type"] - large.said.probabilities["type"]).max() > 1e-4


@pytest.mark.parametrize("kind", ["gem", "mask_pooled", "attention"])
def test_attention_maps_do_not_depend_on_the_tiling_either(kind, prepared):
    """F18: voxel by voxel, and they sum to 1 over the case."""
    network, image = _network(kind), _image()
    with torch.no_grad():
        x = torch.from_numpy(image[None])
        ones = torch.ones(1, 1, *_SHAPE)
        expected = network.attend(x, ones, network(x).case_sums)["type"][0, 0].numpy()
    seen = _predict(network, prepared(image), mirror_axes=(1,), keep_attention=True).said.attention[
        "type"
    ]
    assert seen.sum(dtype=float) == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(seen, expected, rtol=1e-3, atol=1e-7)
    assert seen.max() > 1.1 * seen.min()


def test_the_order_of_windows_does_not_change_a_bit():
    engine = TorchEngine(_network("mask_pooled"), num_spatial_dims=3)
    rng = np.random.default_rng(0)
    windows, shares = (rng.random((7, c, 4, 4, 4), dtype=np.float32) for c in (2, 1))
    answers = engine.predict(windows, shares)

    def answered(order):
        known = CaseKnowledge(
            sums={t: v[order].astype(float) for t, v in answers.sums.items()},
            evidence={t: v[order].astype(float) for t, v in answers.evidence.items()},
            image_voxels=np.full(7, 64),
        )
        return answer_case(engine, known, _TASKS, Aggregation.CASE)

    first, other = answered(np.arange(7)), answered(rng.permutation(7))
    for task in ("type", "grade"):
        np.testing.assert_array_equal(first.probabilities[task], other.probabilities[task])
        np.testing.assert_array_equal(first.features[task], other.features[task])
