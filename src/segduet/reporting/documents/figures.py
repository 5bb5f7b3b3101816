"""One figure of a summary in words: never without its n, its interval and its candidates."""

from collections.abc import Mapping
from typing import Any

from segduet.metrics.declared import SEGMENTATION_METRICS, TASK_METRICS
from segduet.reporting.wording import figure_text, figure_value, interval_text

Figure = Mapping[str, Any]


def figure_sentence(figure: Figure, selected_from: int | None) -> str:
    """`0.945 (95 % CI 0.936 to 0.952, n = 30, selected_from = 1)`.

    Args:
        figure: of `summary.json`, of a region or of a task.
        selected_from: candidates the model was chosen from on these cases; None where unknown.
    """
    told = [interval_text(figure), selection_text(selected_from), *remarks(figure)]
    return f"{figure_text(figure)} ({', '.join(told)})"


def remarks(figure: Figure) -> list[str]:
    """What was tested beside it: against chance, and the luck of choosing among candidates."""
    told = []
    if figure.get("p_chance") is not None:
        told.append(f"against chance p = {figure['p_chance']:.2g}")
    if figure.get("optimism") is not None:
        told.append(f"up to {figure['optimism']:.3f} of it may be luck of the choice")
    return told


def selection_text(selected_from: int | None) -> str:
    """How many candidates a figure is the best of."""
    return f"selected_from = {'not recorded' if selected_from is None else selected_from}"


def metric_name(name: str) -> str:
    """What a reader sees of a metric; its key where it was not declared."""
    declared = {**SEGMENTATION_METRICS, **TASK_METRICS}
    return declared[name].label if name in declared else name


def figure_cells(figure: Figure, selected_from: int | None) -> list[str]:
    """Value, interval (or why there is none), n, selected_from and remarks, for a table's row."""
    interval = figure.get("ci95")
    reason = f"none: {figure.get('reason') or 'not recorded'}"
    return [
        figure_text(figure),
        f"{interval[0]:.3f} to {interval[1]:.3f}" if interval else reason,
        str(figure.get("n", 0)),
        "not recorded" if selected_from is None else str(selected_from),
        "; ".join(remarks(figure)),
    ]


def is_measured(figure: Figure) -> bool:
    """Whether there is a value."""
    return figure_value(figure) is not None
