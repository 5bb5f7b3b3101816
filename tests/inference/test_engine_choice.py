"""F67, F71, B12: which engine is chosen, in which precision and why; every row, and refusals."""

import subprocess
import sys

import pytest

from segduet.core.errors import RequestError
from segduet.core.runtime import RuntimeFormat, StoredPrecision
from segduet.inference.engines.choice import (
    EngineRequest,
    ModelForms,
    PredictionMode,
    choose_engine,
)
from segduet.inference.engines.machine import (
    Machine,
    cpu_has_bf16,
    installed_packages,
    may_have_gpu,
    this_machine,
)
from segduet.inference.engines.runtimes import EngineName

FAST = PredictionMode.FAST
TORCH, CORE = {"torch", "onnx", "onnxscript", "onnxruntime"}, {"onnxruntime"}
OPENVINO, ONNX_GPU = "openvino", "onnxruntime-gpu"
BOTH_BF16 = frozenset({"cpu", "cuda"})

WEIGHTS = ModelForms(has_weights=True)
OV_FP32 = (RuntimeFormat.OPENVINO, StoredPrecision.FP32)
OV_INT8 = (RuntimeFormat.OPENVINO, StoredPrecision.INT8)
ONNX_FP32 = (RuntimeFormat.ONNX, StoredPrecision.FP32)


def bundle(*forms):
    return ModelForms(has_weights=False, converted=frozenset(forms))


def model(*forms):
    return ModelForms(has_weights=True, converted=frozenset(forms))


def choose(packages, has_cuda, forms, *, bf16_on=frozenset(), **request):
    if "engine" in request:
        request["engine"] = EngineName(request["engine"])
    machine = Machine(packages=frozenset(packages), has_cuda=has_cuda, bf16_on=bf16_on)
    return choose_engine(EngineRequest(**request), machine=machine, model=forms)


# packages, GPU, model, request, (engine, device, precision)
EXACT_ROWS = [
    (TORCH | {OPENVINO}, True, WEIGHTS, {}, ("torch", "cuda", "fp32")),
    (TORCH | {OPENVINO}, False, WEIGHTS, {}, ("openvino", "cpu", "fp32")),
    (TORCH, False, WEIGHTS, {}, ("onnx", "cpu", "fp32")),
    ({"torch", "onnxruntime"}, False, WEIGHTS, {}, ("torch", "cpu", "fp32")),  # no converter
    (CORE, False, bundle(ONNX_FP32), {}, ("onnx", "cpu", "fp32")),
    (CORE | {OPENVINO}, False, bundle(ONNX_FP32), {}, ("onnx", "cpu", "fp32")),
    (CORE | {OPENVINO}, False, bundle(OV_FP32), {}, ("openvino", "cpu", "fp32")),
    ({OPENVINO, ONNX_GPU}, True, bundle(ONNX_FP32), {}, ("onnx", "cuda", "fp32")),
    (CORE, True, bundle(ONNX_FP32), {}, ("onnx", "cpu", "fp32")),  # no GPU build
    (TORCH | {OPENVINO}, True, WEIGHTS, {"device": "cpu"}, ("openvino", "cpu", "fp32")),
    (TORCH, True, WEIGHTS, {"device": "cuda:1"}, ("torch", "cuda:1", "fp32")),
    (TORCH, True, WEIGHTS, {"engine": "torch"}, ("torch", "cuda", "fp32")),
    (TORCH, False, WEIGHTS, {"engine": "torch"}, ("torch", "cpu", "fp32")),
    (TORCH | {OPENVINO}, True, WEIGHTS, {"engine": "openvino"}, ("openvino", "cpu", "fp32")),
    (TORCH | {OPENVINO}, False, WEIGHTS, {"engine": "onnx"}, ("onnx", "cpu", "fp32")),
    (TORCH | {ONNX_GPU}, True, WEIGHTS, {"engine": "onnx"}, ("onnx", "cuda", "fp32")),
    (TORCH | {ONNX_GPU}, True, WEIGHTS, {"engine": "tensorrt"}, ("tensorrt", "cuda", "fp32")),
    (TORCH | {OPENVINO}, False, WEIGHTS, {"keep_attention": True}, ("torch", "cpu", "fp32")),
    (TORCH | {OPENVINO}, False, WEIGHTS, {"precision": "bf16"}, ("openvino", "cpu", "bf16")),
    (TORCH | {OPENVINO}, True, WEIGHTS, {"precision": "fp16"}, ("torch", "cuda", "fp16")),
    (TORCH | {OPENVINO}, False, model(OV_INT8), {"precision": "int8"}, ("openvino", "cpu", "int8")),
]  # fmt: skip
FAST_ROWS = [
    (TORCH | {OPENVINO}, True, WEIGHTS, {}, ("torch", "cuda", "bf16")),
    (TORCH | {OPENVINO}, False, WEIGHTS, {}, ("openvino", "cpu", "bf16")),
    (TORCH | {OPENVINO}, False, model(OV_INT8), {}, ("openvino", "cpu", "int8")),
    (CORE | {OPENVINO}, False, bundle(OV_INT8), {}, ("openvino", "cpu", "int8")),
    (TORCH, False, WEIGHTS, {}, ("onnx", "cpu", "fp32")),
    (TORCH, False, WEIGHTS, {"engine": "torch"}, ("torch", "cpu", "bf16")),
    (TORCH | {ONNX_GPU}, True, WEIGHTS, {"engine": "tensorrt"}, ("tensorrt", "cuda", "fp16")),
    (TORCH | {OPENVINO}, False, model(OV_INT8), {"precision": "fp32"}, ("openvino", "cpu", "fp32")),
]  # fmt: skip


@pytest.mark.parametrize(("packages", "has_cuda", "forms", "request_", "expected"), EXACT_ROWS)
def test_exact_mode(packages, has_cuda, forms, request_, expected):
    choice = choose(packages, has_cuda, forms, bf16_on=BOTH_BF16, **request_)
    assert (choice.engine, choice.device, choice.precision) == expected


@pytest.mark.parametrize(("packages", "has_cuda", "forms", "request_", "expected"), FAST_ROWS)
def test_fast_mode(packages, has_cuda, forms, request_, expected):
    choice = choose(packages, has_cuda, forms, bf16_on=BOTH_BF16, mode=FAST, **request_)
    assert (choice.engine, choice.device, choice.precision) == expected


@pytest.mark.parametrize(
    ("has_cuda", "engine", "precision"),
    [(True, "torch", "fp16"), (False, "torch", "fp32"), (False, "openvino", "fp32")],
)
def test_fast_mode_on_a_processor_without_bf16(has_cuda, engine, precision):
    choice = choose(TORCH | {OPENVINO}, has_cuda, WEIGHTS, mode=FAST, engine=engine)
    assert choice.precision == precision


def test_bf16_asked_for_by_name_is_emulated_by_torch_alone():
    assert choose(TORCH, False, WEIGHTS, engine="torch", precision="bf16").precision == "bf16"
    with pytest.raises(RequestError, match="computes in bf16, which this one does not"):
        choose(TORCH | {OPENVINO}, False, WEIGHTS, engine="openvino", precision="bf16")


# packages, GPU, model, request, message
REFUSALS = [
    (TORCH, False, WEIGHTS, {"engine": "openvino"}, r"pip install 'segduet\[openvino\]'"),
    (CORE, False, WEIGHTS, {"engine": "torch"}, r"pip install 'segduet\[train\]'"),
    (set(), False, bundle(ONNX_FP32), {"engine": "onnx"}, "onnxruntime is not installed"),
    (TORCH, True, WEIGHTS, {"engine": "tensorrt"}, "pip install onnxruntime-gpu tensorrt"),
    (TORCH, False, WEIGHTS, {"engine": "tensorrt"}, "no NVIDIA GPU"),
    (TORCH, False, WEIGHTS, {"device": "cuda"}, "no NVIDIA GPU"),
    (TORCH, False, WEIGHTS, {"engine": "torch", "device": "cuda:0"}, "no NVIDIA GPU"),
    (TORCH | {OPENVINO}, True, WEIGHTS, {"engine": "openvino", "device": "cuda"}, "device cpu"),
    (TORCH, True, WEIGHTS, {"engine": "tensorrt", "device": "cpu"}, "expected device cuda"),
    (TORCH, False, WEIGHTS, {"device": "gpu"}, "auto, cpu, cuda or cuda:N"),
    (TORCH, False, WEIGHTS, {"precision": "fp64"}, "auto, fp32, bf16, fp16, int8"),
    (TORCH, False, WEIGHTS, {"engine": "torch", "precision": "fp16"}, "one of fp32, bf16"),
    (TORCH, False, WEIGHTS, {"engine": "onnx", "precision": "bf16"}, "one of fp32"),
    (TORCH | {OPENVINO}, False, WEIGHTS, {"engine": "openvino", "precision": "int8"}, "quantised"),
    (TORCH | {OPENVINO}, False, WEIGHTS, {"precision": "int8"}, "segduet export --precision int8"),
    (TORCH, False, bundle(ONNX_FP32), {"engine": "torch"}, "without PyTorch weights"),
    ({"torch", "onnxruntime"}, False, WEIGHTS, {"engine": "onnx"}, "onnx, onnxscript not inst"),
    (TORCH, False, bundle(OV_FP32), {"engine": "onnx"}, "without an onnx network in fp32"),
    ({OPENVINO}, False, bundle(OV_INT8), {}, "Use --precision int8, which it has"),
    (TORCH, False, WEIGHTS, {"engine": "onnx", "keep_attention": True}, "Use --engine torch"),
    (set(), False, WEIGHTS, {}, "openvino is not installed; onnx: .*; torch: torch is not inst"),
]


@pytest.mark.parametrize(("packages", "has_cuda", "forms", "request_", "message"), REFUSALS)
def test_what_cannot_be_had_is_refused_with_a_remedy(packages, has_cuda, forms, request_, message):
    with pytest.raises(RequestError, match=message):
        choose(packages, has_cuda, forms, bf16_on=BOTH_BF16, **request_)


def test_the_reason_is_one_sentence_that_names_what_was_passed_over():
    why = choose(TORCH, False, WEIGHTS).why
    assert why == (
        "auto takes onnx on cpu, fp32 gives the exact answer; "
        "openvino cannot serve: openvino is not installed."
    )
    asked = choose(TORCH, False, WEIGHTS, engine="torch", precision="fp32").why
    assert asked == "torch was asked for, fp32 was asked for."
    fast = choose(TORCH | {OPENVINO}, False, WEIGHTS, mode=FAST, bf16_on=BOTH_BF16).why
    assert fast == "auto takes openvino on cpu, bf16 is the fastest it has here."


def test_bf16_is_read_from_the_processors_flags(tmp_path):
    facts = tmp_path / "cpuinfo"
    facts.write_text("processor : 0\nflags : fpu avx512f avx512_bf16 amx_tile\n")
    assert cpu_has_bf16(facts)
    facts.write_text("processor : 0\nflags : fpu avx2\n")
    assert not cpu_has_bf16(facts)
    assert not cpu_has_bf16(tmp_path / "absent")


def test_a_driver_is_seen_by_its_device(tmp_path):
    assert not may_have_gpu(tmp_path)
    (tmp_path / "nvidiactl").touch()
    assert may_have_gpu(tmp_path)


def test_this_machine_has_what_the_tests_run_on():
    machine = this_machine(has_cuda=True, cuda_has_bf16=True)
    assert {"torch", "onnxruntime"} <= machine.packages == installed_packages()
    assert machine.has_cuda
    assert machine.bf16_on - {"cpu"} == {"cuda"}


def test_choosing_imports_no_runtime():
    """B12: the choice comes before the cost."""
    script = (
        "import sys; from segduet.inference.engines import choice, machine;"
        "machine.this_machine(has_cuda=False);"
        "print({'torch', 'openvino', 'onnx', 'onnxruntime'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.strip() == "set()"
