"""F71, C3.17: ONNX graphs answer as the torch network does, whatever network and shape."""

from dataclasses import dataclass

import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from segduet.compression import onnx_conversion
from segduet.compression.onnx_conversion import OPSET, convert_to_onnx
from segduet.core.errors import RequestError
from segduet.core.labels import LabelScheme
from segduet.core.runtime import (
    IMAGE,
    SHARES,
    RuntimeFormat,
    StoredPrecision,
    heads_outputs,
    sums_name,
    window_outputs,
)
from segduet.core.tasks import TaskScale, TaskSpec
from segduet.networks.backbone_config import (
    QuickNATConfig,
    ResNet18Config,
    StandaloneUNetConfig,
)
from segduet.networks.config import HeadConfig
from segduet.networks.evidence import EvidenceRegion
from segduet.networks.export_views import HeadsView, WindowView
from segduet.networks.heads.head import build_head
from segduet.networks.joint import JointNetwork, build_joint_network, offered_widths
from tiny_plans import UNETS, tiny_configuration

PLAIN_LABELS = LabelScheme.from_dataset_json(
    {"background": 0, "organ": 1, "lesion": 2}, None, where="test"
)
REGIONS = LabelScheme.from_dataset_json(
    {"background": 0, "whole": [1, 2], "lesion": 2}, [1, 2], where="test"
)
SUBTYPE = TaskSpec(name="subtype", classes=("a", "b", "c"), evidence_region="lesion")
AGE = TaskSpec(name="age.v2", kind="regression", scale=TaskScale(mean=50.0, sd=9.0))
CHANNELS = 2
GEM = HeadConfig(kind="gem", hidden=(4,), stages=(1,))

#: Every kind of head with what can be added to it; one network answers by all of them.
HEADS = {
    "bottleneck": HeadConfig(kind="bottleneck", hidden=(), channel_attention=True),
    "gem": HeadConfig(kind="gem", hidden=(4,), spatial_attention=True, stages=(1,)),
    "mask_pooled": HeadConfig(hidden=(4,), spatial_attention=True, stages=(0,)),
    "attention": HeadConfig(
        kind="attention", hidden=(), width=8, mask_guided=True, stages=(0,), decoder_features=True
    ),
}


@dataclass
class Case:
    """A network, what it answers, its patch, and another shape it accepts."""

    network: JointNetwork
    tasks: tuple[TaskSpec, ...]
    patch: tuple[int, ...]
    other: tuple[int, ...]


def build(patch, other, *, tasks=(SUBTYPE,), labels=PLAIN_LABELS, backbone=None, **options):
    torch.manual_seed(3)
    with_masks = options.pop("with_masks", True)
    head = options.pop("head", HeadConfig(hidden=(4,)))
    network = build_joint_network(
        configuration=tiny_configuration(patch, features=(4, 6), **options),
        num_channels=CHANNELS,
        labels=labels,
        tasks=tasks,
        head=head,
        deep_supervision=False,
        backbone=backbone,
        with_masks=with_masks,
    )
    return Case(trained(network, patch), tuple(tasks), patch, other)


def trained(network: JointNetwork, patch) -> JointNetwork:
    """With running statistics that are not those it starts with."""
    network.train()
    network(torch.randn(4, CHANNELS, *patch))
    return network.eval()


def all_heads(patch, other):
    """A head of every kind, as so many tasks; where the image is 0 nothing is predicted."""
    case = build(patch, other, tasks=())
    encoder, decoder = case.network.encoder, case.network.decoder
    with torch.no_grad():
        decoder.seg_layers[-1].weight.mul_(30)
        decoder.seg_layers[-1].bias.copy_(torch.tensor([8.0, 0.0, 0.0]))
    widths = offered_widths(encoder, decoder)
    tasks = tuple(SUBTYPE.model_copy(update={"name": name}) for name in HEADS)
    heads = {name: build_head(config, widths, 3) for name, config in HEADS.items()}
    regions = {task.name: EvidenceRegion.of_task(task, PLAIN_LABELS) for task in tasks}
    network = JointNetwork(encoder, decoder, heads=heads, regions=regions)
    return Case(trained(network, patch), tasks, patch, other)


DENSE = {"num_filters": 4, "kernel_size": 3, "dropout": 0.1}
NETWORKS = {
    "every_head": lambda: all_heads((8, 4), (6, 10)),
    "residual": lambda: build(
        (1, 8, 8), (3, 4, 12), strides=[1, [1, 2, 2]], labels=REGIONS, tasks=(SUBTYPE, AGE),
        head=HeadConfig(hidden=(4,), stages=(1,)), class_name=f"{UNETS}.ResidualEncoderUNet",
    ),
    "standalone": lambda: build(
        (4, 8, 4), (8, 4, 4), backbone=StandaloneUNetConfig(base_filters=2, levels=1), tasks=()
    ),
    "quicknat_odd": lambda: build(
        (9, 12), (9, 20), head=GEM,
        backbone=QuickNATConfig(**DENSE, levels=2, squeeze_excite="channel_spatial"),
    ),
    "resnet18": lambda: build((64, 32), (32, 64), backbone=ResNet18Config(), head=GEM),
}  # fmt: skip


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """Converts each network once, and leaves it as it was: name -> (case, folder, record)."""
    done = {}

    def convert(name):
        if name not in done:
            case, folder = NETWORKS[name](), tmp_path_factory.mktemp(name)
            before = {key: value.clone() for key, value in case.network.state_dict().items()}
            record = convert_to_onnx(
                case.network, folder,
                tasks=case.tasks, num_channels=CHANNELS, patch_size=case.patch,
            )  # fmt: skip
            assert not case.network.training
            after = case.network.state_dict()
            assert all(torch.equal(after[key], value) for key, value in before.items())
            done[name] = case, folder, record
        return done[name]

    return convert


def run(file, feeds):
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    feeds = {name: tensor.numpy() for name, tensor in feeds.items()}
    return dict(zip(names, map(torch.from_numpy, session.run(names, feeds)), strict=True))


def noise(shape, batch):
    generator = torch.Generator().manual_seed(1)
    image = torch.randn(batch, CHANNELS, *shape, generator=generator)
    return image, torch.rand(batch, 1, *shape, generator=generator)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("which", "batch"), [("patch", 1), ("other", 3)])
def test_graphs_answer_as_the_network(converted, name, which, batch):
    """C3.17: |difference of logits| <= 1e-3 and no other class; sums to 1e-4 of their size."""
    case, folder, record = converted(name)
    image, shares = noise(getattr(case, which), batch)
    outputs = run(folder / record.windows_file, {IMAGE: image, SHARES: shares})
    names = window_outputs(len(case.tasks), with_masks=record.with_masks)
    with torch.no_grad():
        expected = dict(zip(names, WindowView(case.network)(image, shares), strict=True))
    assert list(outputs) == names
    for key, value in expected.items():
        scale = max(1.0, float(value.abs().max()))
        torch.testing.assert_close(outputs[key], value, rtol=1e-4, atol=1e-4 * scale)
    if record.with_masks:
        assert torch.equal(outputs["logits"].argmax(1), expected["logits"].argmax(1))
    if record.heads_file:
        sums = {sums_name(i): expected[sums_name(i)] for i in range(len(case.tasks))}
        answers = run(folder / record.heads_file, sums)
        assert list(answers) == heads_outputs(len(case.tasks))
        with torch.no_grad():
            wanted = HeadsView(case.network)(*sums.values())
        for value, want in zip(answers.values(), wanted, strict=True):
            torch.testing.assert_close(value, want, rtol=1e-4, atol=1e-5)


def test_a_window_without_a_predicted_region_is_answered_beside_one_with(converted):
    """Whether pooling falls back on the whole window is not frozen, either way, for any head."""
    case, folder, record = converted("every_head")
    image, shares = noise((12, 6), 2)
    image[0] = 0
    outputs = run(folder / record.windows_file, {IMAGE: image, SHARES: shares})
    with torch.no_grad():
        expected = WindowView(case.network)(image, shares)
    for i in range(len(HEADS)):
        sums, evidence = expected[1 + 2 * i : 3 + 2 * i]
        assert evidence[0] == 0 < evidence[1]
        assert torch.equal(outputs[f"evidence_{i}"], evidence)
        scale = float(sums.abs().max())
        torch.testing.assert_close(outputs[f"sums_{i}"], sums, rtol=1e-4, atol=1e-5 * scale)


def test_the_record_says_what_was_written(converted):
    _, folder, record = converted("residual")
    assert (record.format, record.stored_precision) == (RuntimeFormat.ONNX, StoredPrecision.FP32)
    assert record.tasks == (SUBTYPE, AGE)
    assert (record.with_masks, record.num_spatial_dims) == (True, 3)
    assert {file.name for file in folder.iterdir()} == {record.windows_file, record.heads_file}


def test_without_tasks_there_is_no_graph_of_heads(converted):
    _, folder, record = converted("standalone")
    assert record.heads_file is None
    assert [file.name for file in folder.iterdir()] == [record.windows_file]
    _, _, classifier = converted("resnet18")
    assert not classifier.with_masks


def test_batch_and_sizes_are_free_but_where_the_patch_is_no_multiple_of_the_stride(converted):
    def sizes(name):
        _, folder, record = converted(name)
        graph = onnx.load(folder / record.windows_file)
        assert [entry.version for entry in graph.opset_import if not entry.domain] == [OPSET]
        return [
            [axis.dim_value or None for axis in entry.type.tensor_type.shape.dim]
            for entry in graph.graph.input
        ]

    free = [None, None, None]
    assert sizes("standalone") == [[None, CHANNELS, *free], [None, 1, *free]]
    assert sizes("quicknat_odd") == [[None, CHANNELS, 9, None], [None, 1, 9, None]]


def test_instance_normalisation_stays_one_operator(converted):
    """Taken apart it is ten passes over the largest maps of the network."""
    case, folder, record = converted("standalone")
    operators = [node.op_type for node in onnx.load(folder / record.windows_file).graph.node]
    layers = [m for m in case.network.modules() if isinstance(m, nn.InstanceNorm3d)]
    assert operators.count("InstanceNormalization") == len(layers)
    assert "BatchNormalization" not in operators


def test_files_do_not_tell_where_they_were_made(converted):
    _, folder, record = converted("residual")
    for name in (record.windows_file, record.heads_file):
        content = (folder / name).read_bytes()
        assert b".py" not in content
        assert b"site-packages" not in content


class _Undecided(nn.Module):
    """An encoder that looks at the image before it decides what to do."""

    output_channels = (4,)

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(CHANNELS, 4, 1)

    def forward(self, image):
        features = self.convolution(image)
        if not features.is_meta and features.sum() > 0:
            features = -features
        return [features]


def test_a_network_that_decides_by_the_image_is_refused(tmp_path):
    widths = offered_widths(_Undecided(), None)
    network = JointNetwork(
        _Undecided(), None,
        heads={"subtype": build_head(HeadConfig(kind="gem"), widths, 3)},
        regions={"subtype": EvidenceRegion.of_task(SUBTYPE, PLAIN_LABELS)},
    ).eval()  # fmt: skip
    with pytest.raises(RequestError, match=r"cannot express.*Use --engine torch"):
        convert_to_onnx(
            network, tmp_path, tasks=(SUBTYPE,), num_channels=CHANNELS, patch_size=(4, 4)
        )
    assert list(tmp_path.iterdir()) == []


def test_a_network_beyond_one_file_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_conversion, "_LARGEST_FILE", 100)
    case = build((4, 8), (4, 8))
    with pytest.raises(RequestError, match="less than 2 GiB"):
        convert_to_onnx(
            case.network, tmp_path, tasks=case.tasks, num_channels=CHANNELS, patch_size=case.patch
        )


def test_float32_is_what_goes_in_and_comes_out(converted):
    _, folder, record = converted("residual")
    for file in (record.windows_file, record.heads_file):
        graph = onnx.load(folder / file).graph
        types = {e.type.tensor_type.elem_type for e in (*graph.input, *graph.output)}
        assert types == {onnx.TensorProto.FLOAT}
