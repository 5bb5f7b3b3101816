"""F97: the picture follows the records."""

import re
from xml.etree import ElementTree

from segduet.networks.module_record import BlockRecord, ModuleRecord, NetworkSummary
from segduet.reporting.network_diagram import network_svg

SVG = "{http://www.w3.org/2000/svg}"


def block(name: str, shape: tuple[int, ...], position: int, part: str = "") -> BlockRecord:
    return BlockRecord(
        name=name,
        part=part or name.partition(".")[0],
        kind="Conv2d",
        output_shape=shape,
        num_parameters=1234,
        position=position,
    )


BLOCKS = (
    block("encoder.0", (4, 8, 8), 0),
    block("encoder.1", (8, 4, 4), 1),
    block("decoder.up", (4, 8, 8), 2),
    block("heads.task:a<b", (3,), 3, "heads.task:a<b"),
    block("decoder.idle", (), 4),
)


def summary(blocks: tuple[BlockRecord, ...] = BLOCKS) -> NetworkSummary:
    module = ModuleRecord(name="all", kind="Conv2d", output_shape=(), num_parameters=6170)
    return NetworkSummary(input_shape=(1, 8, 8), modules=(module,), blocks=blocks)


def boxes(svg: str) -> dict[str, tuple[int, int]]:
    """Name -> x and y of each box."""
    found = {}
    for group in ElementTree.fromstring(svg).iter(f"{SVG}g"):
        rectangle, name = group[0], group[1].text or ""
        found[name] = (int(rectangle.attrib["x"]), int(rectangle.attrib["y"]))
    return found


def test_columns_are_parts_and_rows_are_resolutions() -> None:
    places = boxes(network_svg(summary(), "tiny"))
    assert places["0"][0] == places["1"][0] != places["up"][0]
    assert places["0"][1] == places["up"][1] < places["1"][1]
    assert places["heads.task:a<b"][1] > places["1"][1]
    assert places["idle"][1] > places["heads.task:a<b"][1]


def test_what_did_not_run_has_no_arrow() -> None:
    """One arrow: from the first to the second block of the encoder."""
    svg = network_svg(summary(), "tiny")
    assert len(re.findall(r'<line class="arrow"', svg)) == 1
    assert "did not run; 1,234 parameters" in svg
    assert "6,170 parameters" in svg


def test_a_climbing_part_is_stacked_from_below() -> None:
    """A decoder's first block of a row is the lowest, so that its arrows never cross a box."""
    blocks = (
        block("decoder.low", (8, 4, 4), 0),
        block("decoder.up", (4, 8, 8), 1),
        block("decoder.out", (2, 8, 8), 2),
    )
    places = boxes(network_svg(summary(blocks), "tiny"))
    assert places["out"][1] < places["up"][1] < places["low"][1]


def test_names_do_no_harm_and_the_bytes_repeat() -> None:
    svg = network_svg(summary(), "</title><script>alert(1)</script>")
    assert "<script" not in svg
    ElementTree.fromstring(svg)
    assert svg == network_svg(summary(), "</title><script>alert(1)</script>")
    assert svg != network_svg(summary(BLOCKS[:3]), "</title><script>alert(1)</script>")
