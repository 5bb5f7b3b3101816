"""The look all charts share, and their way into the page as inline SVG.

Text and axes are drawn in one marked colour that becomes `currentColor`, so a chart follows the
page between light and dark; data colours are readable on both.
"""

import io
import re
from collections.abc import Sequence
from html import escape

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

#: Distinguishable with colour-vision deficiency and readable on white and on near-black.
COLOURS = ("#2f86c9", "#d9772b", "#2a9d6f", "#a86cd1", "#cf4d6f", "#8a8f2a", "#7b8794")
_INK = "#010203"
_GRID = "#808890"
_SIZE_INCHES = (4.7, 3.0)


def new_chart(title: str, *, x_label: str, y_label: str) -> tuple[Figure, Axes]:
    """An empty chart of the size that stays readable on a phone."""
    figure = Figure(figsize=_SIZE_INCHES, layout="constrained")
    FigureCanvasAgg(figure)
    figure.patch.set_alpha(0)
    axes = figure.add_subplot()
    axes.patch.set_alpha(0)
    axes.set_title(title, fontsize=10, loc="left", color=_INK)
    axes.set_xlabel(x_label, fontsize=9, color=_INK)
    axes.set_ylabel(y_label, fontsize=9, color=_INK)
    axes.tick_params(labelsize=8.5, colors=_INK, which="both")
    axes.grid(visible=True, color=_GRID, alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(_INK)
    return figure, axes


def add_legend(axes: Axes, *, columns: int = 1) -> None:
    """A legend without a frame, below the axes so that it covers no data."""
    axes.legend(
        fontsize=8.5,
        frameon=False,
        labelcolor=_INK,
        ncols=columns,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.2),
    )


def add_target(axes: Axes, value: float, label: str) -> None:
    """A dashed line across at a target value, named at its right end."""
    axes.axhline(value, color=_INK, linewidth=0.9, linestyle=(0, (4, 3)), alpha=0.7)
    axes.annotate(
        plain(label),
        xy=(1.0, value),
        xycoords=("axes fraction", "data"),
        xytext=(0, 2),
        textcoords="offset points",
        ha="right",
        va="bottom",
        fontsize=8,
        color=_INK,
    )


def add_note(axes: Axes, text: str, *, at: tuple[float, float]) -> None:
    """A small text centred above a point of the data."""
    axes.annotate(
        plain(text),
        xy=at,
        xytext=(0, 6),
        textcoords="offset points",
        ha="center",
        fontsize=8,
        color=_INK,
    )


def plain(text: str) -> str:
    """A name as text: a dollar sign is no formula, a leading underscore hides no legend entry."""
    return (" " + text if text.startswith("_") else text).replace("$", r"\$")


def set_categories(axes: Axes, names: Sequence[str]) -> None:
    """Names under the x axis, slanted where they would run into each other."""
    is_crowded = sum(len(name) for name in names) > 44
    axes.set_xticks(range(len(names)), [plain(name) for name in names])
    for label in axes.get_xticklabels():
        label.set_rotation(30 if is_crowded else 0)
        label.set_horizontalalignment("right" if is_crowded else "center")


def to_svg(figure: Figure, *, description: str) -> str:
    """The figure as an `<svg>` element with a text alternative; the same bytes on every run."""
    target = io.StringIO()
    # element ids are random unless salted; text becomes paths, so no font is needed
    with mpl.rc_context({"svg.hashsalt": "segduet", "svg.fonttype": "path"}):
        figure.savefig(target, format="svg", metadata={"Date": None, "Creator": None})
    drawing = target.getvalue()
    drawing = drawing[drawing.index("<svg ") :].replace(_INK, "currentColor")
    drawing = re.sub(r"<metadata>.*?</metadata>", "", drawing, flags=re.DOTALL)
    opening = f'<svg role="img" aria-label="{escape(description, quote=True)}" '
    return drawing.replace("<svg ", opening, 1)
