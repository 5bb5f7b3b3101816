"""What an OpenVINO graph (`.xml`) may say: layers, and weights in the file beside it.

Source: OpenVINO documentation, "OpenVINO IR format" (2026).
"""

import re
from collections.abc import Mapping
from xml.parsers import expat

from segduet.inference.bundles.refusals import refused, shown
from segduet.inference.bundles.sections import Section

_MAX_BYTES = 64 * 2**20
_LEADS_OUT = re.compile(r"^[/\\]|^[A-Za-z]:[/\\]|://|(^|[/\\])\.\.([/\\]|$)")
_WHOLE_NUMBER = re.compile(r"[0-9]{1,15}")
_MAX_DEPTH = 64


def check_openvino_graph(content: Section, *, weights_bytes: int) -> None:
    """Checks a graph without building it.

    Args:
        content: the file.
        weights_bytes: length of the `.bin` beside it.

    Raises:
        DataError: not XML, not UTF-8, another kind of document, a document type or entity, a
            processing instruction, a namespace, a path out of the folder, or weights beyond the end
            of the file that holds them.
    """
    _GraphCheck(content.where, weights_bytes).run(content.read_all(_MAX_BYTES))


class _GraphCheck:
    """Handlers of one pass through the document."""

    def __init__(self, where: str, weights_bytes: int) -> None:
        self._where, self._weights_bytes = where, weights_bytes
        self._depth = 0

    def run(self, text: bytes) -> None:
        parser = expat.ParserCreate("utf-8")
        parser.XmlDeclHandler = self._declaration
        parser.StartDoctypeDeclHandler = self._doctype
        parser.ProcessingInstructionHandler = self._instruction
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        try:
            parser.Parse(text, True)
        except expat.ExpatError as error:
            raise refused(
                self._where, found=f"no readable XML ({error})", expected="an OpenVINO graph"
            ) from error

    def _declaration(self, _version: str, encoding: str | None, _standalone: int) -> None:
        if encoding is not None and encoding.lower() != "utf-8":
            raise refused(self._where, found=f"the encoding {shown(encoding)}", expected="UTF-8")

    def _doctype(self, *_: object) -> None:
        raise refused(self._where, found="a DOCTYPE, which can declare entities", expected="none")

    def _instruction(self, target: str, _data: str) -> None:
        raise refused(
            self._where, found=f"a processing instruction {shown(target)}", expected="none"
        )

    def _start(self, name: str, attributes: Mapping[str, str]) -> None:
        if self._depth == 0 and name != "net":
            raise refused(
                self._where, found=f"a document <{shown(name)}>", expected="a graph, <net>"
            )
        self._depth += 1
        foreign = [n for n in (name, *attributes) if ":" in n or n in ("xmlns", "href")]
        if foreign or self._depth > _MAX_DEPTH:
            raise refused(
                self._where,
                found=f"{shown(foreign[0])}" if foreign else f"more than {_MAX_DEPTH} levels",
                expected="a graph without namespaces, links or deep nesting",
            )
        if name == "data":
            self._check_data(attributes)

    def _end(self, _name: str) -> None:
        self._depth -= 1

    def _check_data(self, attributes: Mapping[str, str]) -> None:
        for value in attributes.values():
            if _LEADS_OUT.search(value):
                raise refused(
                    self._where,
                    found=f"a reference to {shown(value)}, outside of the bundle",
                    expected="weights in the file beside the graph",
                )
        if not attributes.keys() >= {"offset", "size"}:
            return
        span = [attributes["offset"], attributes["size"]]
        end = sum(map(int, span)) if all(map(_WHOLE_NUMBER.fullmatch, span)) else -1
        if not 0 <= end <= self._weights_bytes:
            raise refused(
                self._where,
                found=f"weights at {shown(span[0])} of {shown(span[1])} bytes",
                expected=f"weights within the {self._weights_bytes} bytes beside the graph",
            )
