"""Whether a file of a bundle is what its ending says, and names no file outside of the bundle."""

import json
import re
import struct
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from segduet.core.errors import DataError
from segduet.inference.bundles.onnx_references import check_onnx
from segduet.inference.bundles.openvino_graph import check_openvino_graph
from segduet.inference.bundles.refusals import refused, shown
from segduet.inference.bundles.sections import Section

_MAX_TEXT_BYTES = 64 * 2**20
_MAX_HEADER_BYTES = 16 * 2**20

#: First bytes of what must not hide under another ending.
_DISGUISES = {
    b"PK\3\4": "a zip archive, such as PyTorch's pickles",
    b"\x7fELF": "a program or library",
    b"\xcf\xfa\xed\xfe": "a program or library",
    b"\x1f\x8b\x08": "a compressed file",
    b"#!/": "a script",
    b"\x93NUMPY": "a NumPy array, which may hold pickles",
}
_CONTROL_CHARACTERS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def check_contents(name: str, content: Section, sizes: Mapping[str, int]) -> None:
    """Checks one file by its kind.

    Args:
        name: path in the bundle, with an allowed ending.
        content: its bytes.
        sizes: path -> bytes of all files of the bundle.

    Raises:
        DataError: another kind of file under this ending, damaged, or with a reference out of the
            bundle.
    """
    _refuse_disguises(content)
    match PurePosixPath(name).suffix:
        case ".xml":
            weights = sizes.get(str(PurePosixPath(name).with_suffix(".bin")), 0)
            check_openvino_graph(content, weights_bytes=weights)
        case ".onnx":
            parent = PurePosixPath(name).parent
            check_onnx(content, {p.name for p in map(PurePosixPath, sizes) if p.parent == parent})
        case ".safetensors":
            _check_safetensors(content)
        case ".json":
            _check_json(content)
        case ".md":
            _text(content)


def _refuse_disguises(content: Section) -> None:
    head = content.read(0, 16)
    kinds = [kind for magic, kind in _DISGUISES.items() if head.startswith(magic)]
    if _begins_as_pickle(head, content.size) and content.read(content.size - 1, 1) == b".":
        kinds.append("a pickle")
    if kinds:
        raise refused(
            content.where,
            found=f"{kinds[0]}, renamed",
            expected="what the ending says; a bundle holds nothing that could run",
        )


def _begins_as_pickle(head: bytes, size: int) -> bool:
    """Whether the bytes open a pickle of protocol 2 to 5.

    Weights may begin with any two bytes, so the frame's length (protocols 4, 5) or the next opcode
    (2, 3) has to fit as well.
    """
    if len(head) < 3 or head[0] != 0x80 or head[1] not in (2, 3, 4, 5):
        return False
    if head[1] >= 4 and head[2] == 0x95 and len(head) >= 11:
        return int.from_bytes(head[3:11], "little") + 11 <= size
    return head[2:3] in b"NKJM]})(c\x8aX\x8cCBq\x88\x89G."


def _text(content: Section) -> str:
    try:
        text = content.read_all(_MAX_TEXT_BYTES).decode("utf-8")
    except UnicodeDecodeError as error:
        raise _wrong_kind(content, error, "UTF-8 text") from error
    if found := _CONTROL_CHARACTERS.search(text):
        raise refused(
            content.where,
            found=f"the control character {found.group()!r}",
            expected="plain text",
        )
    return text


def _check_json(content: Section) -> None:
    text = _text(content)
    try:
        json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _wrong_kind(content, error, "JSON") from error


def _check_safetensors(content: Section) -> None:
    """The header must be JSON and its tensors must fill the file exactly.

    Source: safetensors format, https://github.com/huggingface/safetensors (2024).
    """
    start = content.read(0, 8)
    length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
    if not 0 < length <= min(_MAX_HEADER_BYTES, content.size - 8):
        raise refused(
            content.where,
            found=f"a header said to have {length} bytes in a file of {content.size}",
            expected="a safetensors file",
        )
    try:
        header = json.loads(content.read(8, length).decode("utf-8"))
        spans = _spans(header)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise _wrong_kind(content, error, "a safetensors header") from error
    position = 0
    for begin, end in sorted(spans):
        if begin != position or end < begin:
            raise refused(
                content.where,
                found=f"a tensor at bytes {begin} to {end} where {position} is due",
                expected="tensors end to end",
            )
        position = end
    if position != content.size - 8 - length:
        raise refused(
            content.where,
            found=f"tensors of {position} bytes and {content.size - 8 - length} bytes of data",
            expected="the same number",
        )


def _spans(header: Any) -> list[tuple[int, int]]:
    tensors = [entry for name, entry in header.items() if name != "__metadata__"]
    pairs = [tuple(entry["data_offsets"]) for entry in tensors]
    if any(type(number) is not int for pair in pairs for number in pair):
        raise TypeError("offsets that are no whole numbers")
    return [(begin, end) for begin, end in pairs]


def _wrong_kind(content: Section, error: Exception, expected: str) -> DataError:
    return refused(
        content.where,
        found=f"bytes that cannot be read ({shown(str(error))})",
        expected=expected,
    )
