"""A network drawn from the records of its real modules (F97): SVG for one file.

A column is a part (encoder, decoder, a head), a row is a resolution, and the arrows of a column
follow the order in which its blocks ran. Nothing else is drawn, since nothing else was seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod

from jinja2 import Environment, PackageLoader, StrictUndefined

from segduet.networks.module_record import BlockRecord, NetworkSummary

_BOX_WIDTH, _BOX_HEIGHT = 250, 58
_GAP_X, _GAP_Y, _MARGIN, _HEADER = 36, 16, 20, 84
#: Longer names are cut in the picture; the table beside it has them whole.
_MAX_LETTERS = 36


@dataclass(frozen=True, slots=True, kw_only=True)
class _Box:
    block: BlockRecord
    x: int
    y: int


def network_svg(summary: NetworkSummary, title: str) -> str:
    """The diagram as an SVG document; the same records give the same bytes.

    Args:
        summary: of one network.
        title: shown above, escaped.
    """
    boxes = _placed(summary.blocks)
    environment = Environment(
        loader=PackageLoader("segduet.reporting", "templates/documents"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("network.svg.j2").render(
        title=title,
        input_shape=shape_text(summary.input_shape),
        num_parameters=f"{summary.num_parameters:,}",
        columns=[
            {"name": _cut(part), "x": _column_x(i)} for i, part in enumerate(_parts(summary.blocks))
        ],
        boxes=[_drawn(box) for box in boxes],
        arrows=_arrows(boxes),
        width=max((box.x for box in boxes), default=0) + _BOX_WIDTH + _MARGIN,
        height=max((box.y for box in boxes), default=0) + _BOX_HEIGHT + _MARGIN,
        box_width=_BOX_WIDTH,
        box_height=_BOX_HEIGHT,
    )


def shape_text(shape: Sequence[int]) -> str:
    """`32 x 8 x 64 x 64`; "did not run" for none."""
    return " x ".join(map(str, shape)) or "did not run"


def _drawn(box: _Box) -> dict[str, object]:
    block = box.block
    return {
        "x": box.x,
        "y": box.y,
        "name": _cut(block.name.removeprefix(f"{block.part}.")),
        "kind": _cut(block.kind),
        "figures": f"{shape_text(block.output_shape)}; {block.num_parameters:,} parameters",
    }


def _placed(blocks: Sequence[BlockRecord]) -> list[_Box]:
    """Boxes on a grid: columns are parts, rows resolutions; blocks of one cell stand in a stack."""
    columns = {part: index for index, part in enumerate(_parts(blocks))}
    boxes, top = [], _HEADER
    for level in sorted({_voxels(block) for block in blocks}, reverse=True):
        row = [block for block in blocks if _voxels(block) == level]
        stacks = [_stack(blocks, [b for b in row if b.part == part]) for part in _parts(row)]
        boxes += [
            _Box(
                block=block,
                x=_column_x(columns[block.part]),
                y=top + place * (_BOX_HEIGHT + _GAP_Y),
            )
            for stack in stacks
            for place, block in enumerate(stack)
        ]
        top += max(map(len, stacks)) * (_BOX_HEIGHT + _GAP_Y)
    return boxes


def _stack(blocks: Sequence[BlockRecord], cell: Sequence[BlockRecord]) -> list[BlockRecord]:
    """A cell from top to bottom; the first to run is lowest where a part climbs, as a decoder."""
    ran = [b for b in blocks if b.part == cell[0].part and b.output_shape]
    climbs = len(ran) > 1 and _voxels(ran[-1]) > _voxels(ran[0])
    return list(reversed(cell)) if climbs else list(cell)


def _arrows(boxes: Sequence[_Box]) -> list[dict[str, int]]:
    """From each box to the next of its column that ran, along the column's left edge."""
    arrows = []
    for part in _parts([box.block for box in boxes]):
        ran = sorted(
            (b for b in boxes if b.block.part == part and b.block.output_shape),
            key=lambda b: b.block.position,
        )
        for before, after in pairwise(ran):
            is_down = after.y > before.y
            start = before.y + (_BOX_HEIGHT if is_down else 0)
            end = after.y + (0 if is_down else _BOX_HEIGHT)
            arrows.append({"x": before.x + _BOX_WIDTH // 2, "start": start, "end": end})
    return arrows


def _parts(blocks: Sequence[BlockRecord]) -> list[str]:
    return list(dict.fromkeys(block.part for block in blocks))


def _voxels(block: BlockRecord) -> int:
    """Spatial size of the output; 0 of an answer, -1 of a block that did not run."""
    if not block.output_shape:
        return -1
    return prod(block.output_shape[1:]) if len(block.output_shape) > 1 else 0


def _column_x(column: int) -> int:
    return _MARGIN + column * (_BOX_WIDTH + _GAP_X)


def _cut(text: str) -> str:
    shown = "".join(letter if letter.isprintable() else " " for letter in text)
    return shown if len(shown) <= _MAX_LETTERS else f"{shown[: _MAX_LETTERS - 3]}..."
