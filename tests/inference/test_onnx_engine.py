"""F71, B12: the ONNX Runtime engine. Parity with torch is in `tests/contracts/test_engines.py`."""

import subprocess
import sys
import threading
from unittest import mock

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from onnxruntime.capi import onnxruntime_pybind11_state as raised

from segduet.core.errors import DataError, RequestError
from segduet.core.runtime import ConvertedNetwork, RuntimeFormat, StoredPrecision
from segduet.core.tasks import TaskSpec
from segduet.inference.engines import onnx_engine
from segduet.inference.engines.onnx_engine import open_onnx

TASK = TaskSpec(name="type", kind="binary", classes=("a", "b"))
WINDOWS = np.arange(2 * 4, dtype=np.float32).reshape(2, 1, 1, 2, 2)
SHARES = np.full_like(WINDOWS, 0.5)


def tensor(name, *shape):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def write(file, nodes, inputs, outputs, constants=()):
    graph = helper.make_graph(nodes, file.stem, inputs, outputs, list(constants))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    file.write_bytes(model.SerializeToString())


@pytest.fixture
def converted(tmp_path):
    """Two dimensions; one logit, twice the image; sums are the shares times the image, added up."""
    axes = helper.make_tensor("axes", TensorProto.INT64, [3], [1, 2, 3])
    two = helper.make_tensor("two", TensorProto.FLOAT, [], [2.0])
    plane = ("B", 1, "Y", "X")
    write(
        tmp_path / "w.onnx",
        [
            helper.make_node("Mul", ["image", "two"], ["logits"]),
            helper.make_node("Mul", ["image", "shares"], ["owned"]),
            helper.make_node("ReduceSum", ["owned", "axes"], ["evidence_0"], keepdims=0),
            helper.make_node("Flatten", ["owned"], ["sums_0"]),
        ],
        [tensor("image", *plane), tensor("shares", *plane)],
        [tensor("logits", *plane), tensor("sums_0", "B", "S"), tensor("evidence_0", "B")],
        [axes, two],
    )
    write(
        tmp_path / "h.onnx",
        [
            helper.make_node("Mul", ["sums_0", "two"], ["logits_0"]),
            helper.make_node("Neg", ["sums_0"], ["features_0"]),
        ],
        [tensor("sums_0", "N", "S")],
        [tensor("logits_0", "N", "S"), tensor("features_0", "N", "S")],
        [two],
    )
    return ConvertedNetwork(
        format=RuntimeFormat.ONNX,
        stored_precision=StoredPrecision.FP32,
        windows_file="w.onnx",
        heads_file="h.onnx",
        tasks=(TASK,),
        with_masks=True,
        num_spatial_dims=2,
        total_strides=(1, 1),
    )


@pytest.fixture
def engine(tmp_path, converted):
    return open_onnx(tmp_path, converted, num_threads=1)


def test_outputs_are_taken_by_their_names(engine):
    answers = engine.predict(WINDOWS, SHARES)
    assert np.array_equal(answers.logits, 2 * WINDOWS)
    assert answers.evidence["type"].tolist() == [3.0, 11.0]  # halves of 0+1+2+3 and of 4+5+6+7
    assert answers.sums["type"].tolist() == [[0, 0.5, 1, 1.5], [2, 2.5, 3, 3.5]]
    said = engine.answer({"type": np.array([[1.0, -2.0]])})  # float64, as sums of a case are
    assert said.logits["type"].tolist() == [[2, -4]]
    assert said.features["type"].tolist() == [[-1, 2]]
    assert said.logits["type"].dtype == np.float32


def test_name_and_dimensions(engine):
    assert (engine.name, engine.num_spatial_dims) == ("onnx cpu fp32", 2)


def test_a_network_that_only_classifies_gives_no_channels(tmp_path, converted):
    classifier = converted.model_copy(update={"with_masks": False})
    answers = open_onnx(tmp_path, classifier).predict(WINDOWS, SHARES)
    assert answers.logits.shape == (2, 0, 1, 2, 2)
    assert answers.evidence["type"].tolist() == [3.0, 11.0]


def test_a_network_without_tasks_needs_no_graph_of_heads(tmp_path, converted):
    segments = converted.model_copy(update={"tasks": (), "heads_file": None})
    engine = open_onnx(tmp_path, segments)
    assert engine.predict(WINDOWS, SHARES).sums == {}
    assert engine.answer({}).logits == {}


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_provider_that_is_not_built_in_is_refused_with_the_way_to_get_it(
    tmp_path, converted, provider
):
    message = "found a build with .*CPUExecutionProvider.*pip install onnxruntime-gpu"
    with (
        mock.patch.object(
            onnxruntime, "get_available_providers", return_value=["CPUExecutionProvider"]
        ),
        pytest.raises(RequestError, match=message),
    ):
        open_onnx(tmp_path, converted, provider=provider)


def test_a_provider_that_fails_to_start_is_no_reason_to_go_on_with_another(tmp_path, converted):
    """ONNX Runtime itself goes on with the CPU and writes so to standard error."""
    fallen_back = mock.Mock()
    fallen_back.get_providers.return_value = ["CPUExecutionProvider"]
    with (
        mock.patch.object(
            onnxruntime, "get_available_providers", return_value=["CUDAExecutionProvider"]
        ),
        mock.patch.object(onnxruntime, "InferenceSession", return_value=fallen_back),
        pytest.raises(RequestError, match="CUDAExecutionProvider failed to start"),
    ):
        open_onnx(tmp_path, converted, provider="cuda")


@pytest.mark.parametrize(
    ("provider", "precision", "expected"),
    [
        ("cpu", "fp32", [("CPUExecutionProvider", {})]),
        ("cuda", "fp32", [("CUDAExecutionProvider", {"device_id": "1", "use_tf32": "0"})]),
        (
            "tensorrt",
            "fp16",
            [
                ("TensorrtExecutionProvider", {"device_id": "1", "trt_fp16_enable": "True"}),
                ("CUDAExecutionProvider", {"device_id": "1", "use_tf32": "0"}),
            ],
        ),
    ],
)
def test_windows_run_on_the_provider_and_heads_on_the_cpu(
    tmp_path, converted, provider, precision, expected
):
    """F67: fp32 is fp32 (no TF32), fp16 is TensorRT's."""
    names = ["CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"]
    opened = []

    def session(file, options, providers):
        opened.append((file.name, providers))
        started = mock.Mock()
        started.get_providers.return_value = [providers[0][0]]
        return started

    with (
        mock.patch.object(onnxruntime, "get_available_providers", return_value=names),
        mock.patch.object(onnxruntime, "InferenceSession", side_effect=session),
    ):
        engine = open_onnx(
            tmp_path, converted, provider=provider, device_index=1, precision=precision
        )
    assert opened == [("w.onnx", expected), ("h.onnx", [("CPUExecutionProvider", {})])]
    assert engine.name == f"onnx {provider}{'' if provider == 'cpu' else ':1'} {precision}"


@pytest.mark.parametrize("provider", ["cpu", "cuda"])
def test_fp16_is_refused_where_nothing_computes_in_it(tmp_path, converted, provider):
    """F67."""
    with pytest.raises(RequestError, match="Use --precision fp32"):
        open_onnx(tmp_path, converted, provider=provider, precision="fp16")


def test_attention_is_refused_with_the_remedy(engine):
    with pytest.raises(RequestError, match="Use --engine torch"):
        engine.attend(WINDOWS, SHARES, {"type": np.zeros(4)})


def test_a_missing_or_damaged_file_is_told_by_its_name(tmp_path, converted):
    (tmp_path / "h.onnx").write_bytes(b"not a network")
    with pytest.raises(DataError, match=r"h\.onnx.*Export or convert the model again"):
        open_onnx(tmp_path, converted)
    (tmp_path / "w.onnx").unlink()
    with pytest.raises(DataError, match=r"w\.onnx"):
        open_onnx(tmp_path, converted)


def test_windows_with_other_channels_are_refused(engine):
    with pytest.raises(RequestError, match=r"the runtime refused.*the network's channels"):
        engine.predict(np.repeat(WINDOWS, 3, axis=1), SHARES)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        raised.RuntimeException("Failed to allocate memory for requested buffer of size 9"),
        raised.Fail("std::bad_alloc"),
    ],
)
def test_too_little_memory_is_said_plainly(engine, error, monkeypatch):
    session = mock.Mock()
    session.run.side_effect = error
    monkeypatch.setattr(engine._windows, "_session", session)
    with pytest.raises(RequestError, match=r"not enough memory for windows \(2, 1, 1, 2, 2\)"):
        engine.predict(WINDOWS, SHARES)


def test_threads_are_as_many_as_asked_for_and_end_with_the_engine(tmp_path, converted):
    """One thread per session is the caller's own; every other one is ended by `close`."""
    before = threads()
    engine = open_onnx(tmp_path, converted, num_threads=3)
    engine.predict(WINDOWS, SHARES)
    assert threads() - before == 2 * (3 - 1)
    engine.close()
    assert threads() == before


def threads() -> int:
    """Threads of this process, native ones included."""
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("Threads:"))


def test_a_closed_engine_cannot_be_used(engine):
    engine.close()
    with pytest.raises(AssertionError, match="closed"):
        engine.predict(WINDOWS, SHARES)
    with pytest.raises(AssertionError, match="closed"):
        engine.answer({"type": np.zeros((1, 4))})


def test_two_threads_may_ask_at_once(engine):
    answers = {}

    def ask(key):
        answers[key] = engine.predict(WINDOWS + key, SHARES).logits

    workers = [threading.Thread(target=ask, args=(key,)) for key in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert all(np.array_equal(answers[key], 2 * (WINDOWS + key)) for key in range(8))


def test_nothing_is_reported_to_microsoft(tmp_path, converted):
    with mock.patch.object(onnxruntime, "disable_telemetry_events") as disabled:
        open_onnx(tmp_path, converted)
    disabled.assert_called_once_with()


def test_the_engine_needs_neither_torch_nor_the_converter():
    """B12."""
    script = (
        f"import sys; import {onnx_engine.__name__};"
        "print({'torch', 'onnx', 'openvino', 'nnunetv2'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.strip() == "set()"
