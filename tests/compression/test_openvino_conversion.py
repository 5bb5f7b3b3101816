"""Networks as OpenVINO graphs: every kind of network and head, free sizes, nothing fixed by chance.

Requirement ids: F71 (equal to torch), B12, B13 (windows of other sizes), C3.17 of ecosystem.md
(logits within 1e-3).
"""

import resource
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import openvino
import openvino_telemetry
import pytest
import torch
from torch import nn

from segduet.compression.openvino_conversion import convert_to_openvino
from segduet.core.errors import RequestError, StorageError
from segduet.core.labels import LabelScheme
from segduet.core.runtime import (
    IMAGE,
    SHARES,
    ConvertedNetwork,
    RuntimeFormat,
    StoredPrecision,
    heads_outputs,
    window_outputs,
)
from segduet.core.tasks import TaskSpec
from segduet.networks.backbone_config import (
    QuickNATConfig,
    ResNet18Config,
    SoftQuickFCNConfig,
    StandaloneUNetConfig,
)
from segduet.networks.config import HeadConfig
from segduet.networks.joint import JointNetwork, build_joint_network
from tiny_plans import PLAIN_UNET, UNETS, tiny_configuration

CORE = openvino.Core()
LABELS = LabelScheme.from_dataset_json(
    {"background": 0, "organ": 1, "lesion": 2}, None, where="test"
)
REGIONS = LabelScheme.from_dataset_json(
    {"background": 0, "whole": [1, 2], "lesion": 2}, [1, 2], where="test"
)
#: The last two ask about the same region: OpenVINO then computes their evidence once.
TASKS = (
    TaskSpec(name="type", classes=("a", "b", "c"), evidence_region="lesion"),
    TaskSpec(name="grade.v2", kind="ordinal", classes=("low", "middle", "high")),
    TaskSpec(name="age", kind="regression", unit="years"),
)
SMALL = HeadConfig(hidden=(8,))
GEM = HeadConfig(kind="gem", hidden=(8,))
PATCHES = {2: (12, 8), 3: (4, 12, 8)}
STRIDES = {2: [[1, 1], [2, 2], [2, 1]], 3: [[1, 1, 1], [1, 2, 2], [2, 2, 1]]}

HEADS = {
    "bottleneck": HeadConfig(kind="bottleneck", hidden=(8,), channel_attention=True),
    "gem": GEM,
    "gem, gated": HeadConfig(
        kind="gem", hidden=(8,), spatial_attention=True, decoder_features=True
    ),
    "mask_pooled": SMALL,
    "mask_pooled, gated": HeadConfig(hidden=(8,), spatial_attention=True, mask_gradient=True),
    "attention": HeadConfig(kind="attention", hidden=(8,), width=8),
    "attention, guided": HeadConfig(
        kind="attention", hidden=(8,), mask_guided=True, stages=(0, 2), width=8
    ),
}

#: Name -> arguments of `build`, and another window than the patch.
NETWORKS = {
    "several tasks": ({"tasks": TASKS}, (8, 24, 20)),
    "regions": ({"labels": REGIONS, "tasks": TASKS[:2]}, (8, 24, 20)),
    "a plain nnU-Net, 3d": ({"tasks": ()}, (8, 24, 20)),
    "a plain nnU-Net, 2d": ({"tasks": (), "dims": 2}, (20, 24)),
    "residual": ({"class_name": f"{UNETS}.ResidualEncoderUNet"}, (8, 24, 20)),
    "only classifies": ({"with_masks": False, "head": GEM}, (8, 24, 20)),
    "standalone": ({"backbone": StandaloneUNetConfig(base_filters=4, levels=1)}, (6, 8, 14)),
    "quicknat": (
        {"dims": 2, "backbone": QuickNATConfig(num_filters=4, levels=2, squeeze_excite="spatial")},
        (20, 24),
    ),
    "quicknat, odd patch": (
        {"dims": 2, "patch": (13, 10), "backbone": QuickNATConfig(num_filters=4, levels=2)},
        (22, 17),
    ),
    "soft quickfcn": (
        {"dims": 2, "backbone": SoftQuickFCNConfig(num_filters=4, levels=2)},
        (20, 24),
    ),
    # 48 / ceil(48 / 32) and the like are whole numbers, so pooling over the patch looks even.
    "resnet, odd patch": (
        {"dims": 2, "patch": (48, 64), "backbone": ResNet18Config(), "with_masks": False,
         "head": GEM},
        (70, 45),
    ),
}  # fmt: skip


#: By how much networks shrink an image; planned ones as `STRIDES` multiply to.
TOTAL_STRIDES = {
    "standalone": (2, 2, 2),
    "quicknat": (4, 4),
    "quicknat, odd patch": (4, 4),
    "soft quickfcn": (4, 4),
    "resnet, odd patch": (32, 32),
}


def build(
    *,
    dims: int = 3,
    patch: tuple[int, ...] | None = None,
    class_name: str = PLAIN_UNET,
    labels: LabelScheme = LABELS,
    tasks: tuple[TaskSpec, ...] = TASKS,
    head: HeadConfig = SMALL,
    **more: object,
) -> JointNetwork:
    torch.manual_seed(3)
    patch = patch or PATCHES[dims]
    strides = None if patch != PATCHES[dims] else STRIDES[dims]
    network = build_joint_network(
        configuration=tiny_configuration(patch, strides=strides, class_name=class_name),
        num_channels=2, labels=labels, tasks=tasks, head=head, deep_supervision=False, **more,
    )  # fmt: skip
    with torch.no_grad():
        for name, parameter in network.heads.named_parameters():
            parameter.add_(0.05 if "logit" in name else 0)  # gates start at 0.5 everywhere
    return network.eval()


def convert(network: JointNetwork, folder: Path, tasks, patch) -> ConvertedNetwork:
    return convert_to_openvino(network, folder, tasks=tasks, num_channels=2, patch_size=patch)


def opened(folder: Path) -> dict[str, Callable]:
    """The graphs in a folder, ready to run: `windows` and, with tasks, `heads`."""
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    files = folder.glob("*.xml")
    return {file.stem: CORE.compile_model(file, "CPU", options) for file in files}


def run(graph: Callable, inputs: Iterable[torch.Tensor]) -> dict[str, np.ndarray]:
    answers = graph([tensor.numpy() for tensor in inputs])
    return {name: answers[name] for port in graph.outputs for name in port.get_names()}


def windows(batch: int, spatial: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(batch)
    shares = torch.rand(batch, 1, *spatial, generator=generator)
    return torch.randn(batch, 2, *spatial, generator=generator), shares


def assert_equal(found: dict[str, np.ndarray], wanted: dict[str, torch.Tensor]) -> None:
    """C3.17 asks for 1e-3; sums grow with the window, so they are measured by their largest."""
    assert set(found) == set(wanted)
    for name, tensor in wanted.items():
        scale = max(1.0, float(tensor.abs().max()))
        np.testing.assert_allclose(found[name] / scale, tensor / scale, atol=2e-5, err_msg=name)


def check(network: JointNetwork, graphs: dict[str, Callable], image, shares) -> None:
    """Both graphs against the network, the heads with the sums the network gives."""
    with torch.no_grad():
        outputs = network(image, shares)
        answers = network.answer(outputs.case_sums)
    tasks = network.tasks
    parts = [p for t in tasks for p in (outputs.case_sums[t], outputs.evidence[t])]
    names = window_outputs(len(tasks), with_masks=network.decoder is not None)
    wanted = dict(zip(names, (*outputs.segmentation, *parts), strict=True))
    assert_equal(run(graphs["windows"], [image, shares]), wanted)
    if tasks:
        parts = [p for t in tasks for p in (answers[t].logits, answers[t].features)]
        wanted = dict(zip(heads_outputs(len(tasks)), parts, strict=True))
        assert_equal(run(graphs["heads"], outputs.case_sums.values()), wanted)


@pytest.mark.parametrize(
    ("name", "dims"),
    [*((name, 3) for name in HEADS), ("mask_pooled, gated", 2), ("attention, guided", 2)],
)
def test_every_head_answers_as_torch_for_any_batch_and_size(name, dims, tmp_path):
    """F71, B12, B13."""
    network = build(dims=dims, head=HEADS[name], tasks=TASKS[:1])
    convert(network, tmp_path, TASKS[:1], PATCHES[dims])
    graphs = opened(tmp_path)
    check(network, graphs, *windows(2, PATCHES[dims]))
    check(network, graphs, *windows(1, (8, 24, 20)[3 - dims :]))


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_answers_as_torch_for_any_batch_and_size(name, tmp_path):
    """F71, B12, B13."""
    arguments, other = NETWORKS[name]
    tasks = arguments.get("tasks", TASKS[:1])
    network = build(**{**arguments, "tasks": tasks})
    patch = arguments.get("patch", PATCHES[arguments.get("dims", 3)])
    converted = convert(network, tmp_path, tasks, patch)
    assert converted == ConvertedNetwork(
        format=RuntimeFormat.OPENVINO,
        stored_precision=StoredPrecision.FP32,
        windows_file="windows.xml",
        heads_file="heads.xml" if tasks else None,
        tasks=tasks,
        with_masks=arguments.get("with_masks", True),
        num_spatial_dims=len(patch),
        total_strides=TOTAL_STRIDES.get(name, (4, 2) if len(patch) == 2 else (2, 4, 2)),
    )
    graphs = opened(tmp_path)
    assert set(graphs) == ({"windows", "heads"} if tasks else {"windows"})
    check(network, graphs, *windows(2, patch))
    check(network, graphs, *windows(1, other))


@pytest.mark.parametrize("name", ["mask_pooled, gated", "attention, guided"])
def test_empty_and_found_masks_answer_as_torch(name, tmp_path):
    """What tracing saw (here nothing: it uses a window of zeros) is not what it answers."""
    network = build(head=HEADS[name], tasks=TASKS[:2])
    with torch.no_grad():
        last = network.decoder.seg_layers[-1]
        last.weight *= 20
        last.bias.copy_(torch.tensor([2.0, 0.0, 0.0]))
    convert(network, tmp_path, TASKS[:2], PATCHES[3])
    graphs = opened(tmp_path)
    image, shares = windows(2, PATCHES[3])
    for window, found_any in ((torch.zeros_like(image), False), (image, True)):
        with torch.no_grad():
            outputs = network(window, shares)
        assert all(bool((e > 0).all()) == found_any for e in outputs.evidence.values())
        check(network, graphs, window, shares)


def test_graph_has_the_agreed_names_and_free_sizes(tmp_path):
    convert(build(), tmp_path, TASKS, PATCHES[3])
    graph, heads = (CORE.read_model(tmp_path / f"{name}.xml") for name in ("windows", "heads"))
    shapes = {port.any_name: str(port.partial_shape) for port in graph.inputs}
    assert shapes == {IMAGE: "[?,2,?,?,?]", SHARES: "[?,1,?,?,?]"}
    named = [port.get_names() for port in graph.outputs]
    expected = window_outputs(3, with_masks=True)
    assert all(name in names for name, names in zip(expected, named, strict=True))
    assert [port.any_name for port in heads.inputs] == ["sums_0", "sums_1", "sums_2"]
    assert all(str(port.partial_shape).startswith("[?,") for port in heads.inputs)
    assert [port.any_name for port in heads.outputs] == heads_outputs(3)


def test_graph_keeps_the_operations_that_have_fast_kernels_and_fp32_weights(tmp_path):
    """F71: one MVN and one PRelu per block; no weight in fp16."""
    network = build(tasks=())
    convert(network, tmp_path, (), PATCHES[3])
    operations = CORE.read_model(tmp_path / "windows.xml").get_ops()
    counts = Counter(operation.get_type_name() for operation in operations)
    norms = sum(isinstance(m, nn.InstanceNorm3d) for m in set(network.modules()))
    assert counts["MVN"] == counts["PRelu"] == norms == 5
    weights = [o for o in operations if o.get_type_name() == "Constant" and o.shape]
    kinds = {o.get_element_type().get_type_name() for o in weights}
    assert kinds <= {"f32", "i64", "i32"}
    assert len(operations) < 60


def test_network_stays_as_it_was(tmp_path):
    """Measuring the strides once left the weights on torch's device for shapes alone."""
    network = build()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    convert(network, tmp_path, TASKS, PATCHES[3])
    after = network.state_dict()
    assert {tensor.device.type for tensor in after.values()} == {"cpu"}
    assert all(torch.equal(before[name], tensor) for name, tensor in after.items())
    assert not network.training


class _Unknown(nn.Module):
    """The network's encoder behind an operation OpenVINO does not have."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        features: list[torch.Tensor] = self.encoder(torch.digamma(image))
        return features


def test_unknown_operation_is_named_with_the_remedy(tmp_path):
    network = build(with_masks=False, head=GEM)
    network.encoder = _Unknown(network.encoder)
    with pytest.raises(RequestError, match=r"aten::digamma.*--engine torch"):
        convert(network, tmp_path, TASKS, PATCHES[3])
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_sent_anywhere(tmp_path, monkeypatch):
    """`openvino.convert_model` would report itself to Google Analytics, unasked."""

    def report(*_: object, **__: object) -> None:
        raise AssertionError("telemetry")

    monkeypatch.setattr(openvino_telemetry.Telemetry, "__init__", report)
    monkeypatch.setattr(openvino_telemetry.Telemetry, "send_event", report)
    convert(build(tasks=()), tmp_path, (), PATCHES[3])


def test_full_disk_leaves_the_old_files(tmp_path):
    convert(build(tasks=()), tmp_path, (), PATCHES[3])
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))
    try:
        with pytest.raises(StorageError, match=r"windows\.xml.*Free some space"):
            convert(build(tasks=(), labels=REGIONS), tmp_path, (), PATCHES[3])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
