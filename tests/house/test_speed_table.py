"""Issue 4: the table of bars says what its files say, misses and gaps included."""

import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture
def script(repository: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(repository / "benchmarks"))
    return importlib.import_module("speed_table")


def row(script: ModuleType, folder: Path, start: str) -> str:
    """What stands beside a bar: the figure and the file."""
    (line,) = [x for x in script.table(folder).splitlines() if x.startswith(f"| {start}")]
    return line.split(" | ", 1)[1].removesuffix(" |")


def write(folder: Path, name: str, figures: dict[str, Any]) -> None:
    (folder / f"{name}.json").write_text(json.dumps({"figures": figures}))


def starts(median: float) -> dict[str, Any]:
    seconds = {"median": median, "low": 0.4, "high": 0.9}
    return {"starts": {"int8 bundle, fast": {"first_window_seconds": seconds}}}


def test_a_bar_is_met_missed_or_not_measured(script: ModuleType, tmp_path: Path) -> None:
    start = "cold start before the first window: <= 0.6 s (int8"
    assert row(script, tmp_path, start) == "not measured | -"
    write(tmp_path, "cold_start", starts(0.5))
    assert row(script, tmp_path, start) == "0.5 s (0.4-0.9) | cold_start.json"
    write(tmp_path, "cold_start", starts(0.7))
    assert row(script, tmp_path, start) == "**missed**: 0.7 s (0.4-0.9) | cold_start.json"
    # the run had no other start
    other = "cold start before the first window: <= 0.6 s (model"
    assert row(script, tmp_path, other) == "not measured | cold_start.json"


def test_records_of_the_benchmark_are_read(script: ModuleType, tmp_path: Path) -> None:
    ratio = {"value": 2.5, "ci95": [2.4, 2.6]}
    figures = [
        {"name": "cold: whole command", "ratio": {"value": 9.0, "ci95": None}},
        {"name": "warm: steady case", "ratio": ratio},
    ]
    between = {"worst_equal_share": 0.9998, "labels": {"1": {"mean_dsc": {"value": 0.998}}}}
    record = {"figures": figures, "agreement": {"between arms": between}}
    for precision in ("f32", "bf16"):
        write(tmp_path, f"prediction_acdc_{precision}", record)
    same = "same tiles, same mirroring, "
    assert "2.50 times (2.40-2.60) | pred" in row(
        script, tmp_path, f"{same}f32, in process: >= 2.3 times (ACDC"
    )
    assert row(script, tmp_path, f"{same}bf16, in process: >= 4.5 times (ACDC").startswith("**mis")
    assert row(script, tmp_path, f"{same}f32: >= 99").startswith("**missed**: 99.9800 % in the wor")
    assert row(script, tmp_path, f"{same}bf16: Dice").startswith("**missed**: 0.9980, lowest label")


def test_the_page_keeps_what_is_around_the_table(script: ModuleType) -> None:
    page = f"before\n\n{script.BEGIN}\nold\n{script.END}\n\nafter\n"
    once = script.filled(page, "| new |")
    assert once == f"before\n\n{script.BEGIN}\n\n| new |\n\n{script.END}\n\nafter\n"
    assert script.filled(once, "| new |") == once
    with pytest.raises(SystemExit, match="no place for the table"):
        script.filled("nothing", "| new |")
