import re
from html import unescape

import pytest

from segduet.core.errors import RequestError
from segduet.core.folders import DataRoot
from segduet.evaluation.comparison_file import (
    AnswerSplitEntry,
    Comparison,
    Difference,
    FigureEntry,
    FigureRow,
    RunEntry,
)
from segduet.reporting.comparison_page import render_comparison
from segduet.reporting.difference_charts import difference_charts
from segduet.workflows.reporting import ReportOptions, report

EVIL = "<script>alert(1)</script>"


def entry(value: float | None, **more) -> FigureEntry:
    ci95 = None if value is None else (value - 0.1, value + 0.1)
    return FigureEntry(value=value, ci95=ci95, n=20, reason="" if ci95 else "absent", **more)


def row(metric: str, better: str, values: tuple[float, float], verdict: str) -> FigureRow:
    difference = Difference(
        run=EVIL,
        reference_value=values[0],
        run_value=values[1],
        difference=entry(values[1] - values[0]),
        n_better=3,
        n_worse=17,
        p=0.001,
        p_holm=0.002,
        verdict=verdict,
    )
    return FigureRow(
        part="segmentation",
        subject="organ",
        metric=metric,
        label=metric.upper(),
        unit="" if metric == "dsc" else "mm",
        better=better,
        values={"base": entry(values[0], optimism=0.02), EVIL: entry(values[1])},
        differences=(difference,),
    )


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    split = AnswerSplitEntry(
        task="kind", region="organ", right=entry(0.8), wrong=entry(0.6), difference=entry(0.2)
    )
    runs = [
        RunEntry(
            name=name,
            folder="/secret/place",
            n_cases=20,
            n_patients=18,
            selected_from=selected_from,
            measures_masks=True,
            tasks=("kind",),
            dsc_by_answer=(split,),
        )
        for name, selected_from in (("base", 10), (EVIL, 1))
    ]
    return Comparison(
        reference="base",
        runs=tuple(runs),
        rows=(
            row("dsc", "higher", (0.9, 0.75), "worse"),
            row("hd95_mm", "lower", (5.0, 4.0), "better"),
        ),
        interval="the interval",
        test="the test",
        correction="the correction",
        seed=3,
    )


def text_of(html: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", html.split("</header>")[1]).split())


def test_runs_stand_side_by_side_with_their_paired_difference(comparison):
    """B18, F86: each run's figure, and below the other's the difference, its p and verdict."""
    html = render_comparison(comparison)
    assert (
        "DSC organ higher is better 0.900 95 % CI 0.800 to 1.000, n = 20; up to 0.020 too good, "
        "as the best of several 0.750 95 % CI 0.650 to 0.850, n = 20 ▼ worse -0.150 "
        "(-0.250 to -0.050); p = 0.002, n = 20; better in 3, worse in 17"
    ) in text_of(html)
    assert "HD95_MM organ (mm) lower is better" in text_of(html)
    assert "▲ better -1.000" in text_of(html)
    assert "kind organ 0.800" in text_of(html)
    assert "the interval the test the correction" in text_of(html)


def test_the_page_needs_no_script_and_names_no_folder(comparison):
    html = render_comparison(comparison)
    assert "script-src 'none'" in unescape(html)
    assert "<script" not in html
    assert "/secret" not in html


def test_right_of_zero_is_better_whatever_the_metric(comparison):
    """Figures with a unit stay in the table: they have no common axis."""
    (chart,) = difference_charts(comparison)
    assert "DSC organ" in chart
    assert "HD95" not in chart


def test_a_comparison_is_reported_alone_and_without_options(comparison, tmp_path):
    """B23: one message, nothing written."""
    comparison.write(tmp_path / "compared" / "comparison.json")
    root, page = DataRoot.resolve(None, {}), tmp_path / "page.html"
    with pytest.raises(RequestError, match="a comparison shows no cases"):
        report(root, [tmp_path / "compared"], page, ReportOptions(viewer="all"))
    with pytest.raises(RequestError, match="does not belong in this report"):
        report(root, [tmp_path / "compared", tmp_path], page)
    assert not page.exists()
    assert report(root, [tmp_path / "compared"], page).outcome["written"] == [str(page)]
    assert "against base" in page.read_text()
