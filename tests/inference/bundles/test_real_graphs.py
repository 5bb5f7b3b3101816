"""Graphs as the libraries write them pass the checks; the checks need no such library."""

import contextlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segduet.core.errors import DataError
from segduet.inference.bundles.contents import check_contents
from segduet.inference.bundles.sections import Section


def check(file: Path, *, sizes: dict[str, int] | None = None) -> None:
    """Checks a file as if it lay in the root of a bundle with files of these sizes."""
    with file.open("rb") as stream:
        check_contents(file.name, Section.of_file(stream, file), sizes or {})


def test_an_openvino_model_passes_with_its_weights_and_fails_with_fewer(tmp_path: Path) -> None:
    """B20: the offsets in OpenVINO's own graph are compared with the file beside it."""
    openvino = pytest.importorskip("openvino")
    from openvino import opset13 as ops

    given_image = ops.parameter([1, 4], dtype=np.float32, name="image")
    constant = ops.constant(np.arange(12, dtype=np.float32).reshape(4, 3), name="/head/weight")
    product = ops.matmul(given_image, constant, False, False)
    model = openvino.Model([ops.result(product)], [given_image], "tiny")
    openvino.save_model(model, tmp_path / "w.xml", compress_to_fp16=False)
    size = (tmp_path / "w.bin").stat().st_size
    assert size >= 48
    check(tmp_path / "w.xml", sizes={"w.bin": size})
    check(tmp_path / "w.bin")
    with pytest.raises(DataError, match=r"weights within the 40 bytes"):
        check(tmp_path / "w.xml", sizes={"w.bin": 40})


def write_onnx(file: Path, *, outside: str | None) -> None:
    onnx = pytest.importorskip("onnx")
    weight = onnx.numpy_helper.from_array(np.ones((4, 3), dtype=np.float32), "weight")
    if outside is not None:
        onnx.external_data_helper.set_external_data(weight, location=outside)
        weight.ClearField("raw_data")
    scale = onnx.helper.make_node(
        "Constant", [], ["s"], value=onnx.numpy_helper.from_array(np.float32(2))
    )
    node = onnx.helper.make_node("MatMul", ["image", "weight"], ["logits"])
    sizes = {"image": [1, 4], "logits": [1, 3]}
    ports = {
        name: onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in sizes.items()
    }
    graph = onnx.helper.make_graph(
        [scale, node], "tiny", [ports["image"]], [ports["logits"]], [weight]
    )
    file.write_bytes(onnx.helper.make_model(graph).SerializeToString())


def test_an_onnx_model_passes_with_its_weights_inside(tmp_path: Path) -> None:
    write_onnx(tmp_path / "w.onnx", outside=None)
    check(tmp_path / "w.onnx")


@pytest.mark.parametrize("outside", ["../w.bin", "/etc/passwd", "w.bin", "sub/w.bin", ""])
def test_an_onnx_model_whose_weights_lie_elsewhere_is_refused(tmp_path: Path, outside: str) -> None:
    """B20: as the onnx library writes such references; `w.bin` is no file of this bundle."""
    write_onnx(tmp_path / "w.onnx", outside=outside)
    with pytest.raises(DataError, match="external data in"):
        check(tmp_path / "w.onnx", sizes={"sub/w.bin": 4})


def test_an_onnx_model_may_have_its_weights_beside_it(tmp_path: Path) -> None:
    write_onnx(tmp_path / "w.onnx", outside="w.bin")
    check(tmp_path / "w.onnx", sizes={"w.bin": 48})


def test_weights_that_begin_like_a_pickle_are_weights(tmp_path: Path) -> None:
    """Two bytes of a float can be anything; only what could be unpickled is refused."""
    for head in (b"\x80\x04\x00\x3f", b"\x80\x04\x95\x3f" + b"\xff" * 8, b"\x80\x02\x00\x3f"):
        (tmp_path / "w.bin").write_bytes(head + b"\0" * 20)
        check(tmp_path / "w.bin")


@given(
    suffix=st.sampled_from([".xml", ".onnx", ".safetensors", ".json", ".md", ".bin"]),
    content=st.binary(max_size=200),
)
def test_any_bytes_give_no_other_error_than_ours(
    suffix: str, content: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("any") / f"x{suffix}"
    file.write_bytes(content)
    with contextlib.suppress(DataError):
        check(file)
