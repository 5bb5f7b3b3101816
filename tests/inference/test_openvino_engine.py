"""The OpenVINO engine: its precisions, its cache, its errors. See also `contracts/test_engines`.

Requirement ids: F67 (bf16), F71, F75 (settings are explicit), B12 (no PyTorch).
"""

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
import torch

from segduet.compression.openvino_conversion import convert_to_openvino
from segduet.core.errors import DataError, RequestError, StorageError
from segduet.core.labels import LabelScheme
from segduet.core.runtime import StoredPrecision
from segduet.core.tasks import TaskSpec
from segduet.inference.engines import openvino_engine
from segduet.inference.engines.openvino_engine import open_openvino, supports_bf16
from segduet.networks.config import HeadConfig
from segduet.networks.joint import build_joint_network
from tiny_plans import tiny_configuration

LABELS = LabelScheme.from_dataset_json({"background": 0, "lesion": 1}, None, where="test")
TASK = TaskSpec(name="type", classes=("a", "b", "c"))
LEAST_BF16_DICE = 0.99

needs_bf16 = pytest.mark.skipif(not supports_bf16(), reason="this processor has no bf16")


def balls(num_cases: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noisy images (N, 1, 1, 32, 32) of a disc, and its mask (N, 32, 32)."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[:32, :32]
    masks = []
    for y, x, radius in generator.uniform((8, 8, 4), (24, 24, 8), (num_cases, 3)):
        masks.append((rows - y) ** 2 + (columns - x) ** 2 < radius**2)
    mask = np.stack(masks)
    image = mask * 1.5 + generator.normal(size=mask.shape)
    return image[:, None, None].astype(np.float32), mask


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


@pytest.fixture(scope="module")
def trained():
    """A small 2D network after 60 steps on discs, far better than chance."""
    torch.manual_seed(0)
    network = build_joint_network(
        configuration=tiny_configuration((32, 32), features=(8, 12, 16)), num_channels=1,
        labels=LABELS, tasks=(TASK,), head=HeadConfig(hidden=(8,)), deep_supervision=False,
    )  # fmt: skip
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for step in range(60):
        image, mask = balls(8, seed=step)
        logits = network(torch.from_numpy(image[:, :, 0])).segmentation[0]
        loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(mask).long())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval()


@pytest.fixture(scope="module")
def stored(trained, tmp_path_factory):
    """The converted network and its folder."""
    folder = tmp_path_factory.mktemp("converted")
    arguments = {"tasks": (TASK,), "num_channels": 1, "patch_size": (32, 32)}
    return folder, convert_to_openvino(trained, folder, **arguments)


@pytest.fixture
def own_folder(stored, tmp_path):
    """A copy to damage."""
    folder = shutil.copytree(stored[0], tmp_path / "network")
    return folder, stored[1]


def masks_and_sums(stored, precision):
    image, _ = balls(12, seed=1000)
    answers = open_openvino(*stored, precision=precision).predict(image, np.ones_like(image))
    return answers.logits.argmax(1)[:, 0].astype(bool), answers


@needs_bf16
def test_bf16_masks_agree_with_fp32_on_a_trained_network(stored):
    """F67."""
    _, reference = balls(12, seed=1000)
    (exact, in_fp32), (rounded, in_bf16) = (masks_and_sums(stored, p) for p in ("fp32", "bf16"))
    assert dice(exact, reference) > 0.85, "not trained"
    assert dice(rounded, exact) >= LEAST_BF16_DICE
    assert in_bf16.logits.dtype == np.float32
    assert 1e-3 < np.abs(in_bf16.logits - in_fp32.logits).max() < 0.5
    for part in ("sums", "evidence"):
        wanted = getattr(in_fp32, part)["type"]
        np.testing.assert_allclose(
            getattr(in_bf16, part)["type"], wanted, atol=0.02 * np.abs(wanted).max()
        )


@needs_bf16
def test_heads_answer_in_fp32_whatever_the_precision(stored):
    _, answers = masks_and_sums(stored, "fp32")
    exact, rounded = (open_openvino(*stored, precision=p) for p in ("fp32", "bf16"))
    one, other = exact.answer(answers.sums), rounded.answer(answers.sums)
    assert np.array_equal(one.logits["type"], other.logits["type"])
    assert np.array_equal(one.features["type"], other.features["type"])


def test_fp32_is_fp32_though_openvino_would_take_bf16(stored, trained):
    """F75: left to itself it is in bf16 on processors that have it, 1e-2 away."""
    image, _ = balls(2, seed=7)
    answers = open_openvino(*stored, precision="fp32").predict(image, np.ones_like(image))
    with torch.no_grad():
        wanted = trained(torch.from_numpy(image[:, :, 0])).segmentation[0].numpy()
    np.testing.assert_allclose(answers.logits[:, :, 0], wanted, atol=1e-4)


@pytest.mark.parametrize("precision", ["fp32", "int8", pytest.param("bf16", marks=needs_bf16)])
def test_every_setting_is_explicit(stored, precision, tmp_path):
    """F75: the precision and the streams always; threads and cache where they are given."""
    folder, converted = stored
    if precision == "int8":
        converted = converted.model_copy(update={"stored_precision": StoredPrecision.INT8})
    with mock.patch.object(openvino_engine, "_core") as core:
        core.return_value.get_property.return_value = ["FP32", "BF16"]
        engine = open_openvino(
            folder,
            converted,
            precision=precision,
            num_threads=3,
            num_streams=2,
            cache=tmp_path / "made",
        )
    rest = ", rest bf16" if precision == "int8" else ""
    assert engine.name == f"openvino cpu {precision}{rest}"
    windows, heads = (call.args for call in core.return_value.compile_model.call_args_list)
    assert windows[:2] == (folder / "windows.xml", "CPU")
    common = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 2,
        "INFERENCE_NUM_THREADS": 3,
        "ENABLE_CPU_PINNING": False,
        "CACHE_DIR": str(tmp_path / "made"),
    }
    hint = {"fp32": "f32", "int8": "bf16", "bf16": "bf16"}[precision]
    assert windows[2] == {**common, "INFERENCE_PRECISION_HINT": hint}
    assert heads[2] == {**common, "INFERENCE_PRECISION_HINT": "f32"}


def test_what_8_bits_leave_in_float_is_fp32_where_there_is_no_bf16(stored):
    folder, converted = stored
    eight = converted.model_copy(update={"stored_precision": StoredPrecision.INT8})
    with mock.patch.object(openvino_engine, "_core") as core:
        core.return_value.get_property.return_value = ["FP32", "INT8"]
        engine = open_openvino(folder, eight, precision="int8")
    assert engine.name == "openvino cpu int8, rest fp32"
    hints = [
        call.args[2]["INFERENCE_PRECISION_HINT"]
        for call in core.return_value.compile_model.call_args_list
    ]
    assert hints == ["f32", "f32"]


def test_threads_that_ask_at_once_get_the_answers_they_would_get_alone(stored):
    """Eight at a time, as `predict` asks for pictures; each thread has a request of its own."""
    engine = open_openvino(*stored, precision="fp32", num_threads=2, num_streams=2)
    images = [balls(1, seed=seed)[0] for seed in range(24)]
    alone = [engine.predict(image, np.ones_like(image)) for image in images]
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(lambda i: engine.predict(i, np.ones_like(i)), images))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one.logits, other.logits)
        np.testing.assert_array_equal(one.sums["type"], other.sums["type"])


@pytest.mark.parametrize(
    ("precision", "in_store"), [("int8", "fp32"), ("fp32", "int8"), ("bf16", "int8")]
)
def test_a_precision_the_network_is_not_stored_in_is_refused(stored, precision, in_store):
    converted = stored[1].model_copy(update={"stored_precision": StoredPrecision(in_store)})
    with pytest.raises(RequestError, match=f"--precision {precision}.*stored in {in_store}"):
        open_openvino(stored[0], converted, precision=precision)


def test_bf16_is_refused_where_the_processor_has_none(stored, monkeypatch):
    without = SimpleNamespace(get_property=lambda *_: ["FP32", "INT8"])
    monkeypatch.setattr(openvino_engine, "_core", lambda: without)
    assert not supports_bf16()
    with pytest.raises(RequestError, match=r"--precision bf16.*Use --precision fp32"):
        open_openvino(*stored, precision="bf16")


def test_compiled_networks_are_kept_and_found_again(stored, tmp_path):
    cache = tmp_path / "deep" / "cache"
    image, _ = balls(2, seed=7)
    first = open_openvino(*stored, precision="fp32", cache=cache)
    kept = {path.name: path.stat().st_mtime_ns for path in cache.rglob("*.blob")}
    assert len(kept) == 2, "windows and heads"
    again = open_openvino(*stored, precision="fp32", cache=cache)
    assert {path.name: path.stat().st_mtime_ns for path in cache.rglob("*.blob")} == kept
    shares = np.ones_like(image)
    assert np.array_equal(again.predict(image, shares).logits, first.predict(image, shares).logits)


@needs_bf16
def test_a_cache_does_not_mix_precisions(stored, tmp_path):
    image, _ = balls(2, seed=7)
    shares = np.ones_like(image)
    cached = [
        open_openvino(*stored, precision=p, cache=tmp_path).predict(image, shares).logits
        for p in ("fp32", "bf16", "fp32", "bf16")
    ]
    assert np.array_equal(cached[0], cached[2])
    assert np.array_equal(cached[1], cached[3])
    assert not np.array_equal(cached[0], cached[1])


def test_a_damaged_cache_is_made_again(stored, tmp_path):
    image, _ = balls(2, seed=7)
    shares = np.ones_like(image)
    wanted = open_openvino(*stored, precision="fp32", cache=tmp_path).predict(image, shares)
    for path in tmp_path.rglob("*.blob"):
        path.write_bytes(path.read_bytes()[:100])
    found = open_openvino(*stored, precision="fp32", cache=tmp_path).predict(image, shares)
    assert np.array_equal(found.logits, wanted.logits)


def test_a_cache_that_cannot_be_is_refused(stored, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="Choose another cache folder"):
        open_openvino(*stored, precision="fp32", cache=tmp_path / "file" / "cache")


@pytest.mark.parametrize("damage", ["no graph", "no weights", "half the weights", "no network"])
def test_damaged_files_are_named(own_folder, damage):
    folder, converted = own_folder
    graph, weights = folder / "windows.xml", folder / "windows.bin"
    match damage:
        case "no graph":
            graph.unlink()
        case "no weights":
            weights.unlink()
        case "half the weights":
            weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
        case _:
            graph.write_text("<net></net>")
    with pytest.raises(DataError, match=r"windows\.xml.*convert the model again"):
        open_openvino(folder, converted, precision="fp32")


def test_windows_that_do_not_fit_are_told_with_both_shapes(stored):
    engine = open_openvino(*stored, precision="fp32")
    two_channels = np.zeros((1, 2, 1, 32, 32), dtype=np.float32)
    with pytest.raises(
        RequestError, match=r"windows \(1, 2, 1, 32, 32\).*\[\?,1,\?,\?\].*channels"
    ):
        engine.predict(two_channels, two_channels[:, :1])


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("bad_alloc"), RuntimeError("Failed to allocate 9 bytes")]
)
def test_too_little_memory_is_said_plainly(stored, error):
    engine = open_openvino(*stored, precision="fp32")
    image = np.zeros((1, 1, 1, 32, 32), dtype=np.float32)
    with (
        mock.patch.object(engine._windows, "_request", side_effect=error),
        pytest.raises(RequestError, match=r"not enough memory for windows \(1, 1, 1, 32, 32\)"),
    ):
        engine.predict(image, image)


def test_the_engine_needs_no_pytorch(stored, tmp_path):
    """B12: imported, loaded and run."""
    script = """
import sys, numpy as np
from pathlib import Path
from segduet.core.runtime import ConvertedNetwork
from segduet.inference.engines.openvino_engine import open_openvino
folder, converted = Path(sys.argv[1]), ConvertedNetwork.model_validate_json(sys.argv[2])
engine = open_openvino(folder, converted, precision="fp32")
image = np.ones((1, 1, 1, 32, 32), dtype=np.float32)
answers = engine.predict(image, image)
print(answers.logits.shape, engine.answer(answers.sums).logits["type"].shape)
print(sorted({"torch", "nnunetv2", "nncf", "onnx"} & sys.modules.keys()))
"""
    folder, converted = stored
    command = [sys.executable, "-c", script, str(folder), converted.model_dump_json()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["(1, 2, 1, 32, 32) (1, 3)", "[]"]


def test_converters_are_imported_when_somebody_asks_for_them():
    """F71: they take longer to import than the rest, and no prediction needs them."""
    script = """
import sys
from segduet.inference.engines.openvino_import import import_openvino
openvino = import_openvino()
print("openvino.tools.ovc" in sys.modules, import_openvino() is openvino)
print(openvino.convert_model.__module__, "openvino.tools.ovc" in sys.modules)
print(hasattr(openvino, "no_such_thing"))
"""
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.stderr == ""
    told = ["False True", "openvino.tools.ovc.convert True", "False"]
    assert done.stdout.splitlines() == told
