"""Which epoch's weights a training kept, read from its records."""

from collections.abc import Mapping, Sequence
from typing import Any

from segduet.training.config import ValidationConfig
from segduet.training.selection import selection_score

Line = dict[str, Any]


def with_selection_scores(history: Sequence[Line], record: Mapping[str, Any]) -> list[Line]:
    """The lines of metrics.jsonl; where weights were chosen, with `selection/score` in each.

    Args:
        history: as recorded.
        record: content of run.json; its recipe names the rule.
    """
    rule = ValidationConfig.model_validate(record["recipe"].get("validation", {}))
    if rule.selection == "last":
        return list(history)
    return [
        line | {"selection": {"score": selection_score(line["full_case"], rule)}}
        if line.get("full_case")
        else line
        for line in history
    ]


def kept_epoch(history: Sequence[Line], record: Mapping[str, Any]) -> int | None:
    """The epoch of the finished model's weights, from 0; None without a recorded epoch.

    The first of the best where the rule chose, as the training itself does; else the last one.
    """
    scores = {
        line["epoch"]: line["selection"]["score"]
        for line in with_selection_scores(history, record)
        if line.get("selection", {}).get("score") is not None
    }
    if scores:
        return int(max(scores, key=lambda epoch: (scores[epoch], -epoch)))
    return int(history[-1]["epoch"]) if history else None
