"""An ablation as a page of text: every arm with its state, a row per figure and arm (F87)."""

import json
from collections.abc import Sequence

from segduet.evaluation.ablation_file import Ablation, AblationTable, ArmEntry, SeedFigures
from segduet.evaluation.comparison_file import Comparison, Difference, FigureEntry, FigureRow

#: Figures of the page; ablation.json has all of them.
SHOWN = (
    *("dsc", "nsd", "hd95_mm", "lesion_f1"),
    *("macro_f1", "balanced_accuracy", "auroc", "quadratic_kappa", "mae"),
)
COLUMNS = ("figure", "arm", "mean (95 %)", "difference (95 %)", "p", "n", "by seed")

_JUDGED_BY = {
    "validation": "the validation cases of the folds",
    "evaluation": "the predictions of the study",
}


def ablation_markdown(ablation: Ablation) -> str:
    """The whole ablation as Markdown."""
    seeds, folds = (", ".join(str(v) for v in of) for of in (ablation.seeds, ablation.folds))
    lines = [
        f"# Ablation {ablation.study}",
        "",
        f"Folds {folds}; seeds {seeds}; judged by {_JUDGED_BY[ablation.judged_by]}.",
        *_one_seed_note(ablation),
    ]
    for table in ablation.tables:
        lines += ["", f"## {table.recipe}, {table.configuration}", "", *_section(table)]
    return "\n".join(lines) + "\n"


def figure_rows(table: AblationTable) -> list[tuple[str, ...]]:
    """One row of `COLUMNS` per main figure and arm that is done."""
    if table.comparison is None:
        return []
    by_seed = {(f.subject, f.metric, f.arm): f for f in table.by_seed}
    shown = [row for row in table.comparison.rows if row.metric in SHOWN]
    return [cells for row in shown for cells in _arm_rows(table.comparison, row, by_seed)]


def _one_seed_note(ablation: Ablation) -> list[str]:
    if len(ablation.seeds) > 1:
        return []
    return [
        "",
        "One seed: how much two trainings of the same arm differ by chance was not measured.",
    ]


def _section(table: AblationTable) -> list[str]:
    lines = [*_markdown_table(("arm", "changes", "state"), [_arm_row(a) for a in table.arms])]
    if table.comparison is None:
        return [*lines, "", f"No comparison: {table.reason}."]
    comparison = table.comparison
    return [
        *lines,
        "",
        *_markdown_table(COLUMNS, figure_rows(table)),
        "",
        f"n counts answers: cases times seeds, of {comparison.runs[0].n_patients} patients. "
        f"Intervals: {comparison.interval}. p: {comparison.test}; for several arms by "
        f"{comparison.correction}. All figures are in ablation.json.",
    ]


def _arm_row(arm: ArmEntry) -> tuple[str, ...]:
    changes = ", ".join(f"{key} = {json.dumps(value)}" for key, value in arm.changes.items())
    state = f"failed: {arm.reason}" if arm.status == "failed" else "done"
    return arm.name, changes or "nothing", state


def _arm_rows(
    comparison: Comparison,
    row: FigureRow,
    by_seed: dict[tuple[str, str, str], SeedFigures],
) -> list[tuple[str, ...]]:
    label = f"{row.label} {row.subject}" + (f" ({row.unit})" if row.unit else "")
    differences = {difference.run: difference for difference in row.differences}
    return [
        (
            label,
            arm,
            _with_interval(row.values[arm]),
            *_difference_cells(differences.get(arm)),
            str(row.values[arm].n),
            _seed_cell(by_seed[row.subject, row.metric, arm]),
        )
        for arm in (run.name for run in comparison.runs)
    ]


def _difference_cells(difference: Difference | None) -> tuple[str, str]:
    if difference is None:
        return "", ""
    p = "" if difference.p_holm is None else f"{difference.p_holm:.3f}"
    return _with_interval(difference.difference, sign="+"), p


def _with_interval(figure: FigureEntry, *, sign: str = "") -> str:
    if figure.value is None:
        return f"not measured: {figure.reason}"
    if figure.ci95 is None:
        return f"{figure.value:{sign}.3f} (no interval)"
    low, high = figure.ci95
    return f"{figure.value:{sign}.3f} ({low:{sign}.3f} to {high:{sign}.3f})"


def _seed_cell(figures: SeedFigures) -> str:
    values = figures.values.values()
    return ", ".join("-" if value is None else f"{value:.3f}" for value in values)


def _markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [columns, ["---"] * len(columns), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
