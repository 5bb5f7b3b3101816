"""One slice of a case with the outlines of reference and prediction, as a PNG data address."""

import base64
import io
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from segduet.core.labels import LabelScheme
from segduet.core.scores import CaseScores
from segduet.evaluation.cohort import mean_foreground_dsc
from segduet.reporting.case_images import CaseImages, region_colour, slice_of_interest
from segduet.reporting.chart_style import plain
from segduet.reporting.wording import number_text

Regions = Mapping[str, tuple[int, ...]]
_BACKDROP = "#0b0d10"
_MARGIN = 0.35


def choose_overlay_cases(cases: Sequence[CaseScores], labels: LabelScheme) -> list[tuple[str, str]]:
    """Case id and caption of the worst, the median and the best case by mean foreground DSC.

    Fewer where fewer than three cases have a defined score; each case once.
    """
    scored = [(mean_foreground_dsc(case, labels).value, case.case) for case in cases]
    ranked = sorted((value, case) for value, case in scored if value is not None)
    if not ranked:
        return []
    places = {"Worst": 0, "Median": len(ranked) // 2, "Best": len(ranked) - 1}
    chosen: dict[int, str] = {}
    for name, place in places.items():
        chosen.setdefault(place, name)
    return [
        (ranked[place][1], f"{name} case, mean foreground DSC {number_text(ranked[place][0])}")
        for place, name in chosen.items()
    ]


def overlay_png(shown: CaseImages, regions: Regions) -> str:
    """`data:image/png;base64,...`: the whole slice, and its foreground close up with outlines.

    The slice is `slice_of_interest`. Solid outlines are the reference, dashed the prediction.
    """
    index = slice_of_interest(shown.reference, shown.prediction)
    picture = np.asarray(shown.image[0, index], dtype=np.float32)
    reference, prediction = shown.reference[index], shown.prediction[index]
    figure = Figure(figsize=(6.4, 3.5), layout="constrained", facecolor=_BACKDROP)
    FigureCanvasAgg(figure)
    whole, close = figure.subplots(1, 2)
    _, spacing_y, spacing_x = shown.geometry.spacing_zyx_mm
    for axes in (whole, close):
        low, high = np.percentile(picture, [0.5, 99.5])
        axes.imshow(picture, cmap="gray", vmin=low, vmax=max(high, low + 1e-6))
        axes.set_aspect(spacing_y / spacing_x)
        axes.set_axis_off()
    _draw_outlines(close, reference, prediction, regions)
    _zoom(close, (reference > 0) | (prediction > 0))
    _add_legend(figure, regions)
    target = io.BytesIO()
    figure.savefig(target, format="png", dpi=120, metadata={"Software": None})
    return "data:image/png;base64," + base64.b64encode(target.getvalue()).decode("ascii")


def _draw_outlines(
    axes: Axes, reference: np.ndarray, prediction: np.ndarray, regions: Regions
) -> None:
    for number, members in enumerate(regions.values()):
        colour = region_colour(number)
        for label_map, style, width in ((reference, "solid", 1.5), (prediction, "dashed", 1.7)):
            mask = np.isin(label_map, members)
            if not mask.any():
                continue
            # a frame of background, so that a mask at the image border has a closed outline
            level = np.pad(mask.astype(np.float32), 1)
            y, x = (np.arange(n) - 1 for n in level.shape)
            axes.contour(x, y, level, [0.5], colors=colour, linewidths=width, linestyles=style)


def _zoom(axes: Axes, foreground: np.ndarray) -> None:
    if not foreground.any():
        return
    bounds = []
    for axis in (0, 1):
        found = np.flatnonzero(foreground.any(axis=1 - axis))
        margin = max(3.0, _MARGIN * (found[-1] - found[0]))
        limit = foreground.shape[axis] - 0.5
        bounds.append((max(-0.5, found[0] - margin), min(limit, found[-1] + margin)))
    (top, bottom), (left, right) = bounds
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)


def _add_legend(figure: Figure, regions: Regions) -> None:
    lines = [
        Line2D([], [], color=region_colour(number), label=plain(name))
        for number, name in enumerate(regions)
    ]
    lines.append(Line2D([], [], color="#c8ccd2", linestyle="solid", label="reference"))
    lines.append(Line2D([], [], color="#c8ccd2", linestyle="dashed", label="prediction"))
    figure.legend(
        handles=lines,
        loc="outside lower center",
        ncols=min(len(lines), 4),
        fontsize=8.5,
        frameon=False,
        labelcolor="#e6e8eb",
    )
