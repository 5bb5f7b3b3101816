"""Pictures for TensorBoard: patches with reference and prediction, confusion matrices (F55)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

#: Red, green and blue of label values 1, 2, ...; they repeat after the last.
_COLOURS = np.array(
    [(230, 60, 50), (60, 180, 75), (70, 110, 230), (240, 170, 30), (150, 60, 190), (40, 190, 190)],
    dtype=np.float64,
)
_OPACITY = 0.45
_GAP = 2  # white columns between the three views


def overlay_panel(image: np.ndarray, reference: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """One slice three times, side by side: plain, with the reference, with the prediction.

    The slice is the one with most reference foreground; of equals, and without any, the middle one.

    Args:
        image: (Z, Y, X) float, any range; shown from its 1st to its 99th percentile.
        reference: (Z, Y, X) integers; values below 1 are not coloured.
        predicted: the same.

    Returns:
        (Y, 3 X + 4, 3) uint8.
    """
    sizes = (reference > 0).sum(axis=(1, 2))
    middle = len(sizes) // 2
    z = int(np.argmax(sizes)) if sizes.max() > sizes[middle] else middle
    low, high = np.percentile(image, (1, 99))
    grey = np.clip((image[z] - low) / max(high - low, 1e-8), 0, 1) * 255
    plain = np.repeat(grey[..., None], 3, axis=2)
    gap = np.full((plain.shape[0], _GAP, 3), 255.0)
    views = [plain, gap, _coloured(plain, reference[z]), gap, _coloured(plain, predicted[z])]
    panel: np.ndarray = np.concatenate(views, axis=1).astype(np.uint8)
    return panel


def _coloured(plain: np.ndarray, label_map: np.ndarray) -> np.ndarray:
    colours = _COLOURS[(label_map.astype(np.int64) - 1) % len(_COLOURS)]
    mixed = (1 - _OPACITY) * plain + _OPACITY * colours
    return np.where((label_map > 0)[..., None], mixed, plain)


def confusion_figure(classes: Sequence[str], counts: Sequence[Sequence[int]]) -> Figure:
    """A confusion matrix with the names of its classes.

    Args:
        classes: names, in the order of rows and columns.
        counts: (K, K); rows are the reference, columns the prediction.
    """
    table = np.asarray(counts)
    assert table.shape == (len(classes), len(classes)), (table.shape, classes)
    figure = Figure(figsize=(1.5 + 0.9 * len(classes), 1.2 + 0.8 * len(classes)), dpi=80)
    axes = figure.add_subplot()
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(table.shape):
        colour = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, str(table[row, column]), ha="center", va="center", color=colour)
    axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right")
    axes.set_yticks(range(len(classes)), classes)
    axes.set_xlabel("predicted")
    axes.set_ylabel("reference")
    figure.set_layout_engine("tight")
    return figure


def rendered(figure: Figure) -> np.ndarray:
    """The figure as an image: (H, W, 3) uint8."""
    canvas: Any = FigureCanvasAgg(figure)  # matplotlib's back-ends have no types
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
