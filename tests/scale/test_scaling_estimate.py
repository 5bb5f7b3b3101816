"""Issue 6: the paper estimate, worked by hand, and the page that shows it."""

import importlib
import json
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def estimate(repository: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(repository / "benchmarks"))
    return importlib.import_module("scaling_estimate")


@pytest.mark.parametrize(
    ("size", "window", "count"),
    [(64, 64, 1), (32, 64, 1), (96, 64, 2), (97, 64, 3), (150, 64, 4), (512, 128, 7)],
)
def test_windows_overlap_by_half(estimate: ModuleType, size: int, window: int, count: int) -> None:
    """150 with windows of 64 needs starts at 0, 32 (or less), ..., 86: ceil(86 / 32) + 1 = 4."""
    assert estimate.windows_along(size, window) == count


def test_a_study_by_hand(estimate: ModuleType) -> None:
    """2 folds of 9 steps, 4 windows of 1 Mvox each, 100 core-seconds a Mvox: 7200 s = 2 h."""
    given = estimate.Assumptions(folds=2, steps_per_fold=9, batch=4, window_zyx=(100, 100, 100))
    costs = estimate.UnitCosts(training=100.0, prediction={})
    assert estimate.training_core_hours(costs, given) == pytest.approx(2.0)


def test_a_ct_by_hand(estimate: ModuleType) -> None:
    """150 x 100 x 100 in windows of 1 Mvox: 2 windows; 3 core-seconds each; mirrored 8 times."""
    given = estimate.Assumptions(ct_zyx=(150, 100, 100), window_zyx=(100, 100, 100))
    assert estimate.core_seconds_per_ct(3.0, given, mirrored=False) == pytest.approx(6.0)
    assert estimate.core_seconds_per_ct(3.0, given, mirrored=True) == pytest.approx(48.0)


def test_cores_and_storage_by_hand(estimate: ModuleType) -> None:
    """10 core-years a year: 30 cores at a peak of 3, 20 at a utilisation of 0.5 without one."""
    given = estimate.Assumptions(peak=3.0, utilisation=0.5, ct_zyx=(100, 100, 100))
    assert estimate.cores_for(10 * 365 * 24, given) == 30
    given = estimate.Assumptions(peak=1.0, utilisation=0.5, ct_zyx=(100, 100, 100))
    assert estimate.cores_for(10 * 365 * 24, given) == 20
    assert estimate.storage_tb(1_000_000, 7, given) == pytest.approx(7.0)


def test_costs_are_read_from_results(estimate: ModuleType, tmp_path: Path) -> None:
    """1 minute for 30 steps of 2 windows: 1 s a window; 500 ms on two cores: 1 core-second."""
    trained = {"figures": {"joint_cpu_minutes": 1, "iterations": {"joint": 30}}}
    windows = {"fp32": {"median": 500}, "int8": {"median": 250}}
    times = {"figures": {"acdc": {"ms_per_window": windows, "passes_default_bounds": False}}}
    (tmp_path / "acdc_joint_vs_stock.json").write_text(json.dumps(trained))
    (tmp_path / "int8_accuracy.json").write_text(json.dumps(times))
    costs = estimate.read_costs(tmp_path)
    assert costs.training * estimate.MEASURED_WINDOW_MVOX == pytest.approx(1.0)
    assert costs.prediction["fp32"] * estimate.MEASURED_WINDOW_MVOX == pytest.approx(1.0)
    assert "int8 (failed its accuracy gate)" in costs.prediction


def test_the_page_shows_what_the_results_say(estimate: ModuleType, repository: Path) -> None:
    costs = estimate.read_costs(repository / "docs" / "results")
    page = (repository / "docs" / "scaling.md").read_text()
    assert estimate.filled(page, estimate.tables(costs, estimate.Assumptions())) == page, (
        "run python benchmarks/scaling_estimate.py"
    )
