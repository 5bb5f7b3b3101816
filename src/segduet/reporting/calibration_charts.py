"""Reliability diagrams: how often an answer is right that was given with a certain confidence."""

from collections.abc import Sequence

import numpy as np

from segduet.core.scores import CaseScores, ClassAnswer
from segduet.metrics.probability import NUM_CALIBRATION_BINS
from segduet.reporting.chart_style import COLOURS, add_legend, add_note, new_chart, plain, to_svg

_WITH_CONFIDENCE = ("binary", "multiclass")


def reliability_charts(cases: Sequence[CaseScores]) -> list[str]:
    """One chart for every task of classes that has cases with a known answer.

    Confidence is the largest probability; the bins are those of `metrics.probability.ece`, empty
    ones have no dot. A dot below the diagonal is a bin of answers that were too sure.
    """
    answers: dict[str, list[ClassAnswer]] = {}
    for case in cases:
        for task, answer in case.answers.items():
            if answer.kind in _WITH_CONFIDENCE and answer.reference:
                answers.setdefault(task, []).append(answer)
    return [_chart(task, found) for task, found in answers.items()]


def reliability_bins(
    confidence: np.ndarray, is_right: np.ndarray
) -> list[tuple[float, float, int]]:
    """Mean confidence, share of right answers and number of cases of every bin with cases.

    Args:
        confidence: (N,) in [0, 1]; bins are (l, u], 0 belongs to the first.
        is_right: (N,) bool.
    """
    edges = np.linspace(0.0, 1.0, NUM_CALIBRATION_BINS + 1)[1:-1]
    places = np.searchsorted(edges, confidence, side="left")
    return [
        (float(confidence[inside].mean()), float(is_right[inside].mean()), int(inside.sum()))
        for place in range(NUM_CALIBRATION_BINS)
        for inside in [places == place]
        if inside.any()
    ]


def _chart(task: str, answers: Sequence[ClassAnswer]) -> str:
    confidence = np.array([max(a.probabilities) for a in answers])
    is_right = np.array([a.predicted == a.reference for a in answers])
    bins = reliability_bins(confidence, is_right)
    figure, axes = new_chart(
        f"Reliability of {plain(task)}", x_label="confidence", y_label="share of right answers"
    )
    axes.plot([0, 1], [0, 1], color=COLOURS[1], linestyle=(0, (4, 2)), label="as sure as right")
    said, right, counts = zip(*bins, strict=True)
    axes.plot(said, right, color=COLOURS[0], marker="o", markersize=5, label="the model")
    for position, share, count in bins:
        add_note(axes, f"n={count}", at=(position, share))
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(-0.03, 1.09)
    add_legend(axes, columns=2)
    spoken = ", ".join(f"{s:.2f} confident, {r:.2f} right, {n} cases" for s, r, n in bins)
    return to_svg(figure, description=f"Reliability of {task}, {sum(counts)} cases: {spoken}")
