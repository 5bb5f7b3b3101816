"""`compare`: is this run better than that one, on the same cases?"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from segduet.cli.display import print_result, print_table
from segduet.cli.options import JsonOption
from segduet.cli.summary_text import p_text
from segduet.core.seeds import LARGEST_SEED

Content = Mapping[str, Any]

#: Figures in the table on the console; comparison.json has all of them.
_SHOWN = ("dsc", "nsd", "hd95_mm", "macro_f1", "balanced_accuracy", "auroc", "quadratic_kappa",
          "mae")  # fmt: skip
_COLUMNS = ("figure", "reference", "run", "difference, 95 % interval", "verdict")


def register(app: typer.Typer) -> None:
    """Adds this group's command."""
    app.command()(compare)


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="Folders that `evaluate` wrote; the first is the reference.", metavar="RUN..."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for comparison.json.")],
    seed: Annotated[
        int, typer.Option(min=0, max=LARGEST_SEED, help="Seed of intervals and tests.")
    ] = 0,
    as_json: JsonOption = False,
) -> None:
    """Compare runs on the same cases: paired differences, intervals, tests."""
    from segduet.workflows.comparison import CompareRequest
    from segduet.workflows.comparison import compare as run

    manifest = run(CompareRequest(runs=runs, out=out, seed=seed))
    content = manifest.outcome
    if not as_json:
        for other in content["runs"][1:]:
            title = f"{other['name']} against {content['reference']}"
            print_table(title, _COLUMNS, table_rows(content, other["name"]))
    lines = [
        *split_lines(content),
        *(f"note: {warning}" for warning in manifest.warnings),
        f"p: {content['test']}; for several runs by {content['correction']}",
        f"all {len(content['rows'])} figures: {out / 'comparison.json'}",
    ]
    print_result(content, lines, as_json=as_json)


def table_rows(comparison: Content, run: str) -> list[tuple[str, ...]]:
    """The main figures of a run beside those of the reference run.

    Args:
        comparison: content of `comparison.json`.
        run: name of a run that is not the reference.
    """
    return [
        _table_row(row, difference, comparison["reference"])
        for row in comparison["rows"]
        if row["metric"] in _SHOWN
        for difference in row["differences"]
        if difference["run"] == run
    ]


def split_lines(comparison: Content) -> list[str]:
    """For each run with both answers: its DSC where the class is right and where it is wrong.

    Args:
        comparison: content of `comparison.json`.
    """
    lines = []
    for run in comparison["runs"]:
        for split in run["dsc_by_answer"]:
            halves = ", ".join(
                f"{name} {_number(split[name]['value'])} (n = {split[name]['n']})"
                for name in ("right", "wrong")
            )
            difference = _with_interval(split["difference"])
            lines.append(
                f"{run['name']}: DSC {split['region']} where {split['task']} is {halves}; "
                f"difference {difference}"
            )
    return lines


def _table_row(row: Content, difference: Content, reference: str) -> tuple[str, ...]:
    change, values = difference["difference"], row["values"]
    unit = f" ({row['unit']})" if row["unit"] else ""
    figure = f"{row['label']} {row['subject']}{unit}"
    if change["value"] is None:  # what one run alone has is shown all the same
        alone = (_number(values[run]["value"]) for run in (reference, difference["run"]))
        return (figure, *alone, change["reason"], "")
    p = "" if difference["p_holm"] is None else f", {p_text(difference['p_holm'])}"
    return (
        figure,
        _number(difference["reference_value"]),
        _number(difference["run_value"]),
        f"{_with_interval(change)}, n = {change['n']}",
        f"{difference['verdict']}{p}",
    )


def _with_interval(figure: Content) -> str:
    if figure["value"] is None:
        return f"not measured: {figure['reason']}"
    interval = figure["ci95"]
    limits = f"{interval[0]:+.3f} to {interval[1]:+.3f}" if interval else "no interval"
    return f"{figure['value']:+.3f} ({limits})"


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.3f}"
