"""F68: an 8-bit network is a quarter of the size and answers alike; what cannot be, is refused."""

import copy
import hashlib
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openvino
import pytest
import torch
from torch.nn import functional

from segduet.compression.calibration import CalibrationWindow
from segduet.compression.float_parts import float_operations
from segduet.compression.openvino_conversion import convert_to_openvino
from segduet.compression.quantisation import (
    NothingToQuantiseError,
    QuantisationSettings,
    quantise,
)
from segduet.core.errors import DataError, RequestError
from segduet.core.labels import LabelScheme
from segduet.core.runtime import ConvertedNetwork, RuntimeFormat, StoredPrecision
from segduet.core.tasks import TaskSpec
from segduet.metrics.confusion import confusion_matrix, macro_f1
from segduet.metrics.overlap import dsc
from segduet.networks.config import HeadConfig
from segduet.networks.joint import build_joint_network
from tiny_plans import tiny_configuration

_LABELS = LabelScheme.from_dataset_json({"background": 0, "blob": 1}, None, where="test")
_TASK = TaskSpec(name="kind", classes=("dark", "bright"))
_WIDTHS = (16, 32, 48)


@dataclass(frozen=True)
class _Trained:
    """A network that has learned to outline blobs and to say of which kind they are."""

    folder: Path
    converted: ConvertedNetwork
    network: torch.nn.Module


def _blobs(n, seed):
    """Images (N, 1, 32, 32) with one disc each, its masks and its kind: dark or bright inside."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:32, :32]
    centres, radii = rng.integers(9, 23, (n, 2)), rng.integers(4, 8, n)
    kinds = rng.integers(0, 2, n)
    masks = np.stack(
        [(y - cy) ** 2 + (x - cx) ** 2 <= r**2 for (cy, cx), r in zip(centres, radii, strict=True)]
    )
    signs = np.where(kinds == 1, 2.0, -2.0)[:, None, None]
    images = rng.normal(0, 0.5, masks.shape) + masks * signs
    return images[:, None].astype(np.float32), masks, kinds


def _network(dims=2, tasks=(_TASK,), head=None, **options):
    torch.manual_seed(0)
    return build_joint_network(
        configuration=tiny_configuration([32] * dims if dims == 2 else [8] * 3, features=_WIDTHS),
        num_channels=1,
        labels=_LABELS,
        tasks=tasks,
        head=head or HeadConfig(),
        deep_supervision=False,
        **options,
    )


def _train(network, steps=60):
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    network.train()
    for step in range(steps):
        images, masks, kinds = _blobs(12, seed=100 + step)
        outputs = network(torch.from_numpy(images))
        logits = outputs.case_logits[_TASK.name][:, :2]
        loss = functional.cross_entropy(outputs.segmentation[0], torch.from_numpy(masks).long())
        loss = loss + functional.cross_entropy(logits, torch.from_numpy(kinds))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval()


def _convert(network, folder, dims=2):
    tasks = tuple(t for t in (_TASK,) if t.name in network.tasks)
    patch = (32, 32) if dims == 2 else (8, 8, 8)
    folder.mkdir()
    return convert_to_openvino(
        network.eval(), folder, tasks=tasks, num_channels=1, patch_size=patch
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    network = _train(_network())
    folder = tmp_path_factory.mktemp("trained") / "fp32"
    return _Trained(folder=folder, converted=_convert(network, folder), network=network)


def _windows(n=16, seed=7, channels=1):
    images, _, _ = _blobs(n, seed)
    images = np.repeat(images, channels, axis=1)
    return [
        CalibrationWindow(
            case=f"c{i}",
            image=image[:, None],
            shares=np.ones((1, 1, 32, 32), dtype=np.float32),
        )
        for i, image in enumerate(images)
    ]


def _quantised(trained, target, windows=None, **settings):
    converted = quantise(
        trained.folder,
        trained.converted,
        _windows() if windows is None else windows,
        target,
        settings=QuantisationSettings(**settings),
    )
    return _Trained(folder=target, converted=converted, network=trained.network)


@pytest.fixture(scope="module")
def eight_bits(trained, tmp_path_factory):
    return _quantised(trained, tmp_path_factory.mktemp("int8"))


def _compiled(made, name):
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    return openvino.Core().compile_model(made.folder / name, "CPU", options)


def _answers(made, images):
    """Label maps (N, 32, 32) and classes (N,) of both graphs."""
    windows = _compiled(made, made.converted.windows_file)
    given = windows({"image": images, "shares": np.ones_like(images)})
    heads = _compiled(made, made.converted.heads_file)
    logits = heads({"sums_0": given["sums_0"]})["logits_0"]
    classes = logits.argmax(1) if logits.shape[1] > 1 else (logits[:, 0] > 0).astype(int)
    return given["logits"].argmax(1) == 1, classes


def _size(made, name):
    return (made.folder / name).with_suffix(".bin").stat().st_size


def test_the_file_is_a_quarter_and_the_heads_are_the_same(trained, eight_bits):
    name = trained.converted.windows_file
    heads = trained.converted.heads_file

    assert eight_bits.converted.stored_precision is StoredPrecision.INT8
    assert eight_bits.converted.windows_file == name
    assert 0.2 < _size(eight_bits, name) / _size(trained, name) < 0.32
    for suffix in (".xml", ".bin"):
        kept = (made.folder / heads for made in (trained, eight_bits))
        first, second = (path.with_suffix(suffix).read_bytes() for path in kept)
        assert first == second


def test_masks_agree_and_macro_f1_stays_on_blobs_nobody_trained_on(trained, eight_bits):
    images, masks, kinds = _blobs(40, seed=1)

    before, classes_before = _answers(trained, images)
    after, classes_after = _answers(eight_bits, images)

    truth = np.mean([dsc(m, b).value for m, b in zip(masks, before, strict=True)])
    assert truth > 0.9  # it has learned something that could be lost
    agreement = [dsc(b, a).value for b, a in zip(before, after, strict=True)]
    assert np.mean(agreement) >= 0.99
    assert not np.array_equal(before, after)  # and it is another network
    f1 = [
        macro_f1(confusion_matrix(kinds, said, num_classes=2))
        for said in (classes_before, classes_after)
    ]
    assert f1[0] > 0.9
    assert f1[1] >= f1[0] - 0.02


def test_any_batch_and_size_still_runs(eight_bits):
    windows = _compiled(eight_bits, eight_bits.converted.windows_file)

    for shape in ((1, 1, 32, 32), (3, 1, 64, 40)):
        image = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        given = windows({"image": image, "shares": np.ones_like(image)})
        assert given["logits"].shape == (shape[0], 2, *shape[2:])
        assert np.isfinite(given["sums_0"]).all()


def _hashes(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


def test_the_same_calibration_gives_the_same_files(trained, eight_bits, tmp_path):
    again = _quantised(trained, tmp_path / "again")
    other = _quantised(trained, tmp_path / "other", _windows(seed=8))

    assert _hashes(again.folder) == _hashes(eight_bits.folder)
    assert _hashes(other.folder) != _hashes(eight_bits.folder)


def _inputs_of_weighted(made):
    """Kinds of what flows into every convolution and matrix product, by its name."""
    graph = openvino.Core().read_model(made.folder / made.converted.windows_file)
    kinds = ("Convolution", "ConvolutionBackpropData", "MatMul")
    return {
        node.get_friendly_name(): [
            given.get_source_output().get_node().get_type_name() for given in node.inputs()
        ]
        for node in graph.get_ordered_ops()
        if node.get_type_name() in kinds
    }


def _in_float(made):
    """Weighted operations that no 8-bit weight flows into."""
    return [
        name
        for name, kinds in _inputs_of_weighted(made).items()
        if kinds[1] in ("Constant", "Reshape")
    ]


def _is_normalised_in_8_bits(made):
    """Of every normalisation in order, whether it reads numbers of 8 bits."""
    graph = openvino.Core().read_model(made.folder / made.converted.windows_file)
    return [
        node.input(0).get_source_output().get_node().get_type_name() == "FakeQuantize"
        for node in graph.get_ordered_ops()
        if node.get_type_name() == "MVN"
    ]


def test_first_and_last_layer_and_the_heads_stay_in_float(trained, eight_bits, tmp_path):
    """In float: 1 first and 1 last convolution, and the products of the head's pooling."""
    graph = openvino.Core().read_model(trained.folder / trained.converted.windows_file)
    weighted = _inputs_of_weighted(trained)
    by_heads = [n for n in float_operations(graph, num_ends=0, with_norms=False) if n in weighted]
    with_ends = [n for n in float_operations(graph, num_ends=1, with_norms=True) if n in weighted]
    all_of_it = _quantised(trained, tmp_path / "all", ends_in_float=0)
    rounded = _quantised(trained, tmp_path / "rounded", norms_in_float=False)

    assert len(by_heads) > 0
    assert len(with_ends) == len(by_heads) + 2
    assert sorted(_in_float(eight_bits)) == sorted(with_ends)
    assert sorted(_in_float(all_of_it)) == sorted(by_heads)
    assert len(with_ends) < len(weighted)
    assert not any(_is_normalised_in_8_bits(eight_bits))
    assert all(_is_normalised_in_8_bits(rounded))


def test_ends_in_float_keep_the_logits_nearer(trained, eight_bits, tmp_path):
    images, _, _ = _blobs(20, seed=2)
    all_of_it = _quantised(trained, tmp_path / "all", ends_in_float=0)

    exact, kept, rounded = (
        _compiled(made, made.converted.windows_file)([images, np.ones_like(images)])["logits"]
        for made in (trained, eight_bits, all_of_it)
    )

    assert np.abs(kept - exact).mean() < 0.8 * np.abs(rounded - exact).mean()


def test_longer_ends_in_float_keep_the_logits_nearer_still(trained, eight_bits, tmp_path):
    """Two: the first convolution, the two that read it, and the last."""
    images, _, _ = _blobs(20, seed=2)
    longer = _quantised(trained, tmp_path / "longer", ends_in_float=2)

    exact, kept, rounded = (
        _compiled(made, made.converted.windows_file)([images, np.ones_like(images)])["logits"]
        for made in (trained, longer, eight_bits)
    )

    assert len(set(_in_float(longer)) - set(_in_float(eight_bits))) == 2
    assert np.abs(kept - exact).mean() < 0.8 * np.abs(rounded - exact).mean()


def _uneven(trained, folder):
    """The same network with every other channel before a normalisation at a hundredth."""
    network = copy.deepcopy(trained.network)
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d) and module.kernel_size == (3, 3):
            module.weight.data[::2] *= 0.01
            module.bias.data[::2] *= 0.01
    return _Trained(folder=folder, converted=_convert(network, folder), network=network)


def test_channels_of_unlike_range_are_served_alike(trained, tmp_path):
    """Normalisation hides the ranges in float; in 8 bits it magnifies small channels' rounding."""
    images, _, _ = _blobs(20, seed=2)
    uneven = _uneven(trained, tmp_path / "fp32")

    exact, in_float, in_8_bits = (
        _answers(made, images)[0]
        for made in (
            uneven,
            _quantised(uneven, tmp_path / "float"),
            _quantised(uneven, tmp_path / "plain", norms_in_float=False),
        )
    )

    kept, rounded = (dsc(exact, masks).value for masks in (in_float, in_8_bits))
    assert kept >= 0.98
    assert rounded < kept - 0.02


@pytest.mark.parametrize("kind", ["mask_pooled", "attention"])
def test_every_3d_head_stays_exact_given_its_features(kind, tmp_path):
    """No 8-bit operation lies between the features and the sums."""
    made = _Trained(
        folder=tmp_path / "fp32",
        converted=_convert(_network(dims=3, head=HeadConfig(kind=kind)), tmp_path / "fp32", dims=3),
        network=None,
    )
    rng = np.random.default_rng(0)
    windows = [
        CalibrationWindow(
            case=f"c{i}",
            image=rng.normal(size=(1, 8, 8, 8)).astype(np.float32),
            shares=np.ones((1, 8, 8, 8), dtype=np.float32),
        )
        for i in range(8)
    ]
    eight = _quantised(made, tmp_path / "int8", windows)
    graph = openvino.Core().read_model(eight.folder / eight.converted.windows_file)

    behind = set(float_operations(graph, num_ends=0, with_norms=False))
    names = {n.get_friendly_name(): n.get_type_name() for n in graph.get_ordered_ops()}
    assert "FakeQuantize" in names.values()
    assert not [n for n in behind if names[n] == "FakeQuantize"]


def test_a_network_that_only_classifies_is_quantised(tmp_path):
    network = _network(head=HeadConfig(kind="bottleneck"), with_masks=False)
    made = _Trained(tmp_path / "fp32", _convert(network, tmp_path / "fp32"), None)

    eight = _quantised(made, tmp_path / "int8")

    assert _size(eight, "windows.xml") < 0.5 * _size(made, "windows.xml")


def test_a_network_without_tasks_has_no_graph_of_heads(tmp_path):
    made = _Trained(tmp_path / "fp32", _convert(_network(tasks=()), tmp_path / "fp32"), None)

    eight = _quantised(made, tmp_path / "int8")

    assert eight.converted.heads_file is None
    assert len(list(eight.folder.iterdir())) == 2


def test_ends_that_meet_leave_nothing_to_quantise(trained, tmp_path):
    with pytest.raises(NothingToQuantiseError, match="no layer between the first and the last"):
        quantise(
            trained.folder,
            trained.converted,
            _windows(),
            tmp_path,
            settings=QuantisationSettings(ends_in_float=20),
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"format": RuntimeFormat.ONNX}, "in the format onnx"),
        ({"stored_precision": StoredPrecision.INT8}, "quantised already"),
    ],
)
def test_what_cannot_be_quantised_is_refused(trained, tmp_path, changed, said):
    odd = _Trained(trained.folder, trained.converted.model_copy(update=changed), None)

    with pytest.raises(RequestError, match=said):
        _quantised(odd, tmp_path / "int8")
    assert not (tmp_path / "int8").exists()


def test_too_few_windows_are_refused(trained, tmp_path):
    with pytest.raises(RequestError, match="calibration: found 7 windows; expected at least 8"):
        _quantised(trained, tmp_path / "int8", _windows(7))
    assert not (tmp_path / "int8").exists()


def test_windows_of_another_model_are_refused(trained, tmp_path):
    with pytest.raises(DataError, match="'c0': found 2 channels; expected 1"):
        _quantised(trained, tmp_path / "int8", _windows(channels=2))


def test_nncf_reports_to_nobody_and_says_nothing():
    """Outside of pytest, where NNCF switches its telemetry off by itself."""
    code = (
        "from segduet.compression.quiet_nncf import quiet_nncf\n"
        "with quiet_nncf() as nncf:\n"
        "    nncf.common.logging.logger.nncf_logger.info('noise')\n"
        "    print('noise')\n"
        "from nncf.telemetry.wrapper import telemetry\n"
        "print(type(telemetry).__name__)\n"
    )

    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert said.stdout == "MagicMock\n"  # NNCF's stand-in where there is no telemetry
