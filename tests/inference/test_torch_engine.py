"""The PyTorch engine: parity with the bare network, one encoder pass, clear errors."""

from unittest import mock

import numpy as np
import pytest
import torch
from torch import nn

from segduet.core.errors import RequestError
from segduet.core.labels import LabelScheme
from segduet.core.tasks import TaskSpec
from segduet.inference.engines.torch_engine import Precision, TorchEngine
from segduet.inference.predictor import predict_prepared
from segduet.inference.settings import PredictionSettings
from segduet.networks.config import HeadConfig
from segduet.networks.evidence import EvidenceRegion
from segduet.networks.heads.head import build_head
from segduet.networks.heads.inputs import FeatureWidths
from segduet.networks.joint import JointNetwork, build_joint_network
from segduet.windows.tiles import tile_starts
from tiny_plans import tiny_configuration

_LABELS = LabelScheme.from_dataset_json({"background": 0, "lesion": 1}, None, where="test")
_TASK = TaskSpec(name="type", classes=("a", "b", "c"))


@pytest.fixture(params=[2, 3])
def dims(request):
    return request.param


@pytest.fixture
def network(dims):
    torch.manual_seed(0)
    return build_joint_network(
        configuration=tiny_configuration([8] * dims, features=(4, 6)),
        num_channels=1, labels=_LABELS,
        tasks=(_TASK,), head=HeadConfig(), deep_supervision=False,
    )  # fmt: skip


@pytest.fixture
def engine(network, dims):
    return TorchEngine(network, num_spatial_dims=dims)


@pytest.fixture
def windows(dims):
    depth = 8 if dims == 3 else 1
    return np.random.default_rng(0).normal(size=(3, 1, depth, 8, 8)).astype(np.float32)


@pytest.fixture
def shares(windows):
    return np.random.default_rng(1).random(windows.shape, dtype=np.float32)


def test_answers_are_those_of_the_network(engine, network, dims, windows, shares):
    answers = engine.predict(windows, shares)
    x, w = (torch.from_numpy(a if dims == 3 else a[:, :, 0]) for a in (windows, shares))
    with torch.no_grad():
        outputs = network.eval()(x, w)
    expected = outputs.segmentation[0].numpy().reshape(answers.logits.shape)
    np.testing.assert_allclose(answers.logits, expected, atol=1e-5)
    np.testing.assert_allclose(answers.sums["type"], outputs.case_sums["type"].numpy(), rtol=1e-5)
    np.testing.assert_allclose(
        answers.evidence["type"], outputs.evidence["type"].numpy(), rtol=1e-5
    )
    assert answers.logits.dtype == np.float32
    said = engine.answer(answers.sums)
    np.testing.assert_allclose(said.logits["type"], outputs.case_logits["type"].numpy(), atol=1e-5)
    assert said.features["type"].shape == (3, network.heads["task:type"].pooling.width)


def test_attention_of_a_window_that_is_the_case_sums_to_one(engine, windows, shares):
    """F18."""
    for i in range(3):
        window = windows[i : i + 1], shares[i : i + 1]
        known = {task: v[0] for task, v in engine.predict(*window).sums.items()}
        seen = engine.attend(*window, known)["type"]
        assert seen.shape == (1, *windows.shape[2:])
        assert seen.min() > 0
        assert seen.sum() == pytest.approx(1, abs=1e-4)


def test_a_batch_answers_as_its_windows_one_by_one(engine, windows, shares):
    together = engine.predict(windows, shares)
    for i in range(3):
        alone = engine.predict(windows[i : i + 1], shares[i : i + 1])
        np.testing.assert_allclose(together.logits[i], alone.logits[0], atol=1e-5)
        np.testing.assert_allclose(
            together.sums["type"][i], alone.sums["type"][0], rtol=1e-4, atol=1e-4
        )


def test_a_network_that_only_classifies_gives_no_channels(windows, shares, dims):
    """B05: K = 0, no evidence, and an answer all the same."""
    widths = FeatureWidths(stages=(4,), decoder=None)
    network = JointNetwork(
        _Stages(dims), None,
        heads={"type": build_head(HeadConfig(kind="gem"), widths, 3)},
        regions={"type": EvidenceRegion.of_task(_TASK, _LABELS)},
    )  # fmt: skip
    engine = TorchEngine(network, num_spatial_dims=dims)
    answers = engine.predict(windows, shares)
    assert answers.logits.shape == (3, 0, *windows.shape[2:])
    assert answers.evidence["type"].tolist() == [0, 0, 0]
    assert engine.answer(answers.sums).logits["type"].shape == (3, 3)


class _Stages(nn.Module):
    output_channels = (4,)

    def __init__(self, dims):
        super().__init__()
        self.convolution = (nn.Conv2d if dims == 2 else nn.Conv3d)(1, 4, 1)

    def forward(self, x):
        return [self.convolution(x)]


def test_precision_is_taken_literally_and_answers_stay_close(
    engine, network, dims, windows, shares
):
    """F67: bf16 has 8 bits; logits of order 1 agree to a few per cent, and are not fp32's."""
    rounded = TorchEngine(network, num_spatial_dims=dims, precision=Precision.BF16)
    assert (engine.name, rounded.name) == ("torch cpu fp32", "torch cpu bf16")
    a, b = (e.predict(windows, shares).logits for e in (engine, rounded))
    assert b.dtype == np.float32
    assert 0 < np.abs(a - b).max() < 0.1


def test_the_encoder_runs_once_per_window_and_mirror(engine, network, dims, prepared):
    """F65, counted at the encoder itself."""
    calls = []
    network.encoder.register_forward_hook(lambda *_: calls.append(1))
    depth, axes = (9, (0, 1, 2)) if dims == 3 else (3, (0, 1))
    patch = (8, 8, 8) if dims == 3 else (1, 8, 8)
    case = prepared(np.zeros((1, depth, 11, 8), dtype=np.float32))
    answer = predict_prepared(
        engine,
        case,
        patch_zyx=patch,
        tasks=(_TASK,),
        settings=PredictionSettings(mirror_axes=axes),
    )
    num_tiles = len(tile_starts((depth, 11, 8), patch))
    assert len(calls) == num_tiles * 2 ** len(axes)
    assert answer.said.probabilities["type"].sum() == pytest.approx(1)


def test_a_training_network_is_put_into_evaluation_mode(network, dims):
    network.train()
    TorchEngine(network, num_spatial_dims=dims)
    assert not network.training


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_too_little_memory_is_said_plainly(engine, network, windows, shares, error):
    with (
        mock.patch.object(network, "forward", side_effect=error),
        pytest.raises(RequestError, match="not enough memory for windows of shape"),
    ):
        engine.predict(windows, shares)


def test_other_runtime_errors_are_not_taken_for_too_little_memory(engine, network, windows, shares):
    """nnU-Net catches every RuntimeError as 'probably a lack of memory' and starts again."""
    with (
        mock.patch.object(network, "forward", side_effect=RuntimeError("shape mismatch")),
        pytest.raises(RuntimeError, match="shape mismatch"),
    ):
        engine.predict(windows, shares)


def test_a_gpu_that_is_not_there_is_refused(network):
    with pytest.raises(RequestError, match="CUDA devices that PyTorch can use"):
        TorchEngine(network, num_spatial_dims=3, device="cuda:99")


def test_a_closed_engine_lets_its_network_go():
    import weakref

    network = nn.Conv3d(1, 2, 1)
    engine = TorchEngine(network, num_spatial_dims=3)
    reference = weakref.ref(network)
    del network
    engine.close()
    assert reference() is None
    with pytest.raises(AssertionError, match="closed"):
        engine.predict(*[np.zeros((1, 1, 2, 2, 2), dtype=np.float32)] * 2)
