"""The best of several candidates looks better than it is: by how much at most (F83)."""

from collections.abc import Mapping
from typing import Any

from segduet.core.scores import Estimate
from segduet.evaluation.intervals import selection_inflation

#: What `optimism` means, for `summary.json`.
OPTIMISM_TEXT = (
    "by how much the best of selected_from candidates is expected to look better than it is, if "
    "all are equally good and their errors independent: an upper bound, since candidates judged "
    "on the same cases share errors; in the direction that is better"
)


def with_optimism(content: Mapping[str, Any], selected_from: int) -> dict[str, Any]:
    """The figures of a summary, each that has an interval with its `optimism` beside it.

    Args:
        content: any nesting of figures as `summary.json` holds them.
        selected_from: candidates the model was chosen from on these cases; 1 adds nothing.
    """
    if selected_from < 2:
        return dict(content)
    if content.get("ci95"):
        low, high = content["ci95"]
        estimate = Estimate(value=None, ci95=(low, high), n=content["n"])
        return {**content, "optimism": selection_inflation(estimate, selected_from=selected_from)}
    return {
        key: with_optimism(value, selected_from) if isinstance(value, Mapping) else value
        for key, value in content.items()
    }
