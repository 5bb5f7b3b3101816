"""The trials of a search as a page of Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

_NOT_MEASURED = "-"


def tuning_text(outcome: Mapping[str, Any]) -> str:
    """The page: what was tried, the trials that no other beats, and every trial.

    Args:
        outcome: content of tuning.json.
    """
    objectives = ", ".join(f"{name} ({d})" for name, d in outcome["objectives"].items())
    counts = ", ".join(f"{n} {state}" for state, n in outcome["counts"].items())
    trials = {trial["number"]: trial for trial in outcome["trials"]}
    lines = [
        f"# Search of {outcome['study']}",
        "",
        f"Recipe {outcome['recipe']}, folds {', '.join(map(str, outcome['folds']))}, sampler "
        f"{outcome['sampler']}; objectives: {objectives}. Trials: {counts}.",
        "",
        f"**Chosen from {outcome['selected_from']} candidates on the validation cases of these "
        "folds.** The best of many looks better than it is: measure it again on cases that no "
        "trial has seen before you report a figure.",
        "",
        "## Not beaten by another trial",
        "",
        *_table([trials[number] for number in outcome["front"]], outcome),
        "",
        "## Every trial",
        "",
        *_table(outcome["trials"], outcome),
    ]
    return "\n".join(lines) + "\n"


def _table(trials: Sequence[Mapping[str, Any]], outcome: Mapping[str, Any]) -> list[str]:
    if not trials:
        return ["None."]
    keys = list(dict.fromkeys(key for trial in trials for key in trial["changes"]))
    names = list(outcome["objectives"])
    head = ["trial", "state", *keys, *names, "reason"]
    rows = [
        [
            str(trial["number"]),
            trial["state"],
            *(_cell(trial["changes"].get(key, _NOT_MEASURED)) for key in keys),
            *(_cell(trial["values"].get(name, _NOT_MEASURED)) for name in names),
            trial["reason"].replace("|", "/"),
        ]
        for trial in trials
    ]
    return [_row(head), _row(["---"] * len(head)), *(_row(row) for row in rows)]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
