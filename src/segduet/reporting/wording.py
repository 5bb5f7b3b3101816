"""How numbers are written for readers, the same in every report."""

from collections.abc import Mapping
from typing import Any

NOT_MEASURED = "not measured"


def number_text(value: float | None, *, digits: int = 3) -> str:
    """A number with fixed decimals; "not measured" for None."""
    return NOT_MEASURED if value is None else f"{value:.{digits}f}"


def figure_value(figure: Mapping[str, Any]) -> float | None:
    """The point estimate of a figure of `summary.json`, of a region or of a task."""
    value = figure.get("mean", figure.get("value"))
    return None if value is None else float(value)


def figure_text(figure: Mapping[str, Any]) -> str:
    """The point estimate with its unit, if it has one; "not measured" without one."""
    value = figure_value(figure)
    unit = f" {figure['unit']}" if value is not None and figure.get("unit") else ""
    return number_text(value) + unit


def interval_text(figure: Mapping[str, Any]) -> str:
    """`95 % CI 0.54 to 0.84, n = 36`, or why there is no interval."""
    count = f"n = {figure.get('n', 0)}"
    interval = figure.get("ci95")
    if interval:
        return f"95 % CI {interval[0]:.3f} to {interval[1]:.3f}, {count}"
    return f"{count}; no interval: {figure.get('reason') or NOT_MEASURED}"


def p_text(p: float) -> str:
    """A p-value: `p = 0.013`, `p < 0.001`."""
    return f"p = {p:.3f}" if p >= 0.001 else "p < 0.001"


def difference_text(figure: Mapping[str, Any]) -> str:
    """A difference with its sign, `+0.021`; "not measured" without one."""
    value = figure_value(figure)
    return NOT_MEASURED if value is None else f"{value:+.3f}"
