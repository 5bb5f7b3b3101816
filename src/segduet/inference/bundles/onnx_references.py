"""Which other files an ONNX graph wants, found in its bytes; no ONNX library is needed.

An ONNX file is a protocol buffer: fields of a number, a kind and a value, some of them messages in
turn. Only those that lead to tensors and nodes are opened; weights are stepped over.

Source: ONNX 1.19, onnx.proto3 (field numbers); protobuf.dev, "Encoding" (2025).
"""

from collections.abc import Collection, Iterator
from enum import Enum, auto

from segduet.core.errors import DataError
from segduet.inference.bundles.refusals import refused, shown
from segduet.inference.bundles.sections import Section

#: A graph of a network has some ten thousand.
_MAX_FIELDS = 2_000_000
_MAX_DEPTH = 64
_MAX_TEXT_BYTES = 1024

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED_LENGTHS = {_FIXED64: 8, _FIXED32: 4}


class _Message(Enum):
    MODEL = auto()
    GRAPH = auto()
    NODE = auto()
    ATTRIBUTE = auto()
    TENSOR = auto()
    SPARSE_TENSOR = auto()
    FUNCTION = auto()
    EXTERNAL_DATA = auto()


_M = _Message
_MESSAGES = {
    _M.MODEL: {7: _M.GRAPH, 25: _M.FUNCTION},
    _M.GRAPH: {1: _M.NODE, 5: _M.TENSOR, 15: _M.SPARSE_TENSOR},
    _M.NODE: {5: _M.ATTRIBUTE},
    _M.ATTRIBUTE: {
        5: _M.TENSOR,
        6: _M.GRAPH,
        10: _M.TENSOR,
        11: _M.GRAPH,
        22: _M.SPARSE_TENSOR,
        23: _M.SPARSE_TENSOR,
    },
    _M.TENSOR: {13: _M.EXTERNAL_DATA},
    _M.SPARSE_TENSOR: {1: _M.TENSOR, 2: _M.TENSOR},
    _M.FUNCTION: {7: _M.NODE, 11: _M.ATTRIBUTE},
    _M.EXTERNAL_DATA: {},
}
_GRAPH_OF_MODEL, _TRAINING_OF_MODEL = 7, 20
_NODE_KIND, _ENTRY_KEY, _ENTRY_VALUE = 4, 1, 2

#: Nodes that make a runtime load a file compiled by somebody else.
_FOREIGN_NODES = {"EPContext"}


def check_onnx(content: Section, neighbours: Collection[str]) -> None:
    """Checks an ONNX graph without building it.

    Args:
        content: the file.
        neighbours: names of the bundle's files in the same folder, where weights may lie.

    Raises:
        DataError: not an ONNX graph, one for training, weights in a file outside of the bundle, or
            a node that runs a foreign compiled file.
    """
    _OnnxCheck(content, neighbours).run()


class _OnnxCheck:
    """One walk through the messages of a graph."""

    def __init__(self, content: Section, neighbours: Collection[str]) -> None:
        self._content, self._neighbours = content, neighbours
        self._num_fields = 0

    def run(self) -> None:
        waiting = [(_M.MODEL, 0, self._content.size, 0)]
        has_graph = False
        while waiting:
            message, start, end, depth = waiting.pop()
            texts: dict[int, str] = {}
            for number, begin, stop in self._fields(start, end):
                inner = _MESSAGES[message].get(number)
                if inner is not None:
                    waiting.append((inner, begin, stop, depth + 1))
                elif message in (_M.NODE, _M.EXTERNAL_DATA):
                    texts[number] = self._text(begin, stop)
                has_graph |= message is _M.MODEL and number == _GRAPH_OF_MODEL
                self._check_field(message, number, depth)
            self._check_texts(message, texts)
        if not has_graph:
            raise self._damaged("no graph in it")

    def _check_field(self, message: _Message, number: int, depth: int) -> None:
        self._num_fields += 1
        if self._num_fields > _MAX_FIELDS or depth > _MAX_DEPTH:
            raise self._damaged("too many or too deep entries")
        if message is _M.MODEL and number == _TRAINING_OF_MODEL:
            raise self._damaged("a graph for training")

    def _check_texts(self, message: _Message, texts: dict[int, str]) -> None:
        if message is _M.NODE and texts.get(_NODE_KIND) in _FOREIGN_NODES:
            raise refused(
                self._content.where,
                found=f"a node {texts[_NODE_KIND]}, which runs a foreign compiled file",
                expected="a network of ordinary nodes",
            )
        if message is not _M.EXTERNAL_DATA or texts.get(_ENTRY_KEY) != "location":
            return
        location = texts.get(_ENTRY_VALUE, "")
        if location not in self._neighbours:
            raise refused(
                self._content.where,
                found=f"external data in {shown(location)}",
                expected="weights in the graph, or in a file of the bundle beside it",
            )

    def _text(self, begin: int, stop: int) -> str:
        return self._content.read(begin, min(stop - begin, _MAX_TEXT_BYTES)).decode(
            "utf-8", "replace"
        )

    def _fields(self, position: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Number, first byte and end of every field between two positions."""
        while position < end:
            tag, position = self._varint(position, end)
            number, kind = tag >> 3, tag & 7
            begin = position
            if kind == _VARINT:
                _, position = self._varint(position, end)
            elif kind == _BYTES:
                length, begin = self._varint(position, end)
                position = begin + length
            elif kind in _FIXED_LENGTHS:
                position += _FIXED_LENGTHS[kind]
            else:
                raise self._damaged(f"a field of the kind {kind}")
            if number == 0 or position > end:
                raise self._damaged(f"field {number} reaches byte {position} of {end}")
            yield number, begin, position

    def _varint(self, position: int, end: int) -> tuple[int, int]:
        """A number of 7 bits per byte, least first, and where it ends."""
        value = 0
        for index, byte in enumerate(self._content.read(position, min(10, end - position))):
            value |= (byte & 0x7F) << (7 * index)
            if not byte & 0x80:
                return value, position + index + 1
        raise self._damaged(f"a number that does not end at byte {position}")

    def _damaged(self, found: str) -> DataError:
        return refused(self._content.where, found=found, expected="an ONNX network")
