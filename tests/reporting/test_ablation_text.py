"""F87: the page names every arm, its change, its figures, and why some arm has none."""

from segduet.evaluation.ablation_file import Ablation, AblationTable, ArmEntry, SeedFigures
from segduet.evaluation.comparison_file import (
    Comparison,
    Difference,
    FigureEntry,
    FigureRow,
    RunEntry,
)
from segduet.reporting.ablation_text import COLUMNS, ablation_markdown, figure_rows


def _figure(value: float | None, *limits: float, reason: str = "") -> FigureEntry:
    return FigureEntry(value=value, ci95=limits or None, n=16, reason=reason)


def _table(comparison: Comparison | None, reason: str = "") -> AblationTable:
    return AblationTable(
        recipe="default",
        configuration="2d",
        arms=(
            ArmEntry(name="baseline", changes={}, status="done"),
            ArmEntry(name="plain", changes={"averaging.kind": "off"}, status="done"),
            ArmEntry(name="odd", changes={"epochs": 9}, status="failed", reason="train-x: a | b"),
        ),
        comparison=comparison,
        reason=reason,
        by_seed=tuple(
            SeedFigures(
                part="segmentation", subject="lesion", metric="dsc", arm=arm,
                values={0: 0.5, 1: None},
            )
            for arm in ("baseline", "plain")
        ),
    )  # fmt: skip


def _comparison() -> Comparison:
    runs = [
        RunEntry(
            name=name, folder="f", n_cases=16, n_patients=4, selected_from=1,
            measures_masks=True, tasks=(),
        )
        for name in ("baseline", "plain")
    ]  # fmt: skip
    row = FigureRow(
        part="segmentation",
        subject="lesion",
        metric="dsc",
        label="DSC",
        unit="",
        better="higher",
        values={"baseline": _figure(0.5, 0.4, 0.6), "plain": _figure(0.45, reason="one patient")},
        differences=(
            Difference(
                run="plain", reference_value=0.5, run_value=0.45,
                difference=_figure(-0.05, -0.08, -0.02), p=0.01, p_holm=0.02, verdict="worse",
            ),
        ),
    )  # fmt: skip
    return Comparison(
        reference="baseline",
        runs=tuple(runs),
        rows=(row, row.model_copy(update={"metric": "iou", "label": "IoU"})),
        interval="bootstrap",
        test="exchange",
        correction="Holm",
        seed=0,
    )


def _page(table: AblationTable, *seeds: int) -> str:
    return ablation_markdown(
        Ablation(study="s", seeds=seeds, folds=(0, 2), judged_by="validation", tables=(table,))
    )


def test_a_row_holds_value_difference_p_n_and_seeds() -> None:
    assert figure_rows(_table(_comparison())) == [
        ("DSC lesion", "baseline", "0.500 (0.400 to 0.600)", "", "", "16", "0.500, -"),
        (
            "DSC lesion", "plain", "0.450 (no interval)", "-0.050 (-0.080 to -0.020)", "0.020",
            "16", "0.500, -",
        ),
    ]  # fmt: skip


def test_a_failed_arm_is_shown_with_its_reason() -> None:
    page = _page(_table(_comparison()), 0, 1)
    assert "| odd | epochs = 9 | failed: train-x: a \\| b |" in page
    assert '| plain | averaging.kind = "off" | done |' in page
    assert "| baseline | nothing | done |" in page
    assert "Folds 0, 2; seeds 0, 1; judged by the validation cases of the folds." in page
    assert "of 4 patients" in page


def test_without_a_baseline_there_is_no_comparison() -> None:
    page = _page(_table(None, "the baseline failed"), 0)
    assert "No comparison: the baseline failed." in page
    assert COLUMNS[3] not in page


def test_one_seed_is_said_to_be_one() -> None:
    words = "One seed: how much two trainings"
    assert words in _page(_table(_comparison()), 0)
    assert words not in _page(_table(_comparison()), 0, 1)
