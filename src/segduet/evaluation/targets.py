"""Targets and whether they are met: PASS, FAIL, or NOT MEASURED, which is neither (F84, F56)."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from segduet.core.description import validated
from segduet.core.errors import DataError

Figures = Mapping[str, Any]


class Verdict(StrEnum):
    """What is known about a target."""

    PASS = "PASS"  # noqa: S105 - a verdict, not a password
    FAIL = "FAIL"
    NOT_MEASURED = "NOT MEASURED"


class Target(BaseModel):
    """A threshold for one figure of `summary.json`.

    Attributes:
        name: what a reader sees.
        metric: path of the figure, `segmentation/REGION/METRIC` or `classification/TASK/METRIC`.
        threshold: in the metric's own unit.
        direction: whether the value must be at least or at most the threshold.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    metric: str = Field(pattern=r"^[^/]+(/[^/]+)+$")
    threshold: FiniteFloat
    direction: Literal["at_least", "at_most"] = "at_least"

    def is_met(self, value: float) -> bool:
        """Whether a value reaches the threshold; equal counts as reached."""
        if self.direction == "at_least":
            return value >= self.threshold
        return value <= self.threshold


class TargetFile(BaseModel):
    """A file of targets: the key `targets` with a list."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    targets: tuple[Target, ...] = Field(min_length=1)


def _quiz(whole: float, lesion: float, macro_f1: float) -> tuple[Target, ...]:
    return (
        Target(
            name="Whole pancreas DSC", metric="segmentation/whole_pancreas/dsc", threshold=whole
        ),
        Target(
            name="Pancreas lesion DSC", metric="segmentation/pancreas_lesion/dsc", threshold=lesion
        ),
        Target(
            name="Subtype macro-F1", metric="classification/subtype/macro_f1", threshold=macro_f1
        ),
    )


#: The two tracks of the pancreas quiz, and what `segduet demo` must reach on its phantoms. The
#: speed target needs a benchmark, so it reads NOT MEASURED where none was run.
TRACKS: Mapping[str, tuple[Target, ...]] = {
    "demo": _quiz(0.90, 0.60, 0.80),
    "undergraduate": _quiz(0.90, 0.27, 0.60),
    "master": (
        *_quiz(0.91, 0.31, 0.70),
        Target(name="Inference speed-up (%)", metric="benchmark/speedup_percent", threshold=10.0),
    ),
}


def read_targets(source: str | Path) -> tuple[Target, ...]:
    """The targets of a built-in track (by name) or of a YAML or JSON file.

    Raises:
        DataError: no such file, not YAML, or an entry is missing, unknown or of the wrong kind.
    """
    if str(source) in TRACKS:
        return TRACKS[str(source)]
    try:
        content = yaml.safe_load(Path(source).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(
            str(source),
            found=f"a file that cannot be read as YAML or JSON ({error})",
            expected=f"a target file, or one of {list(TRACKS)}",
            remedy="Check the path and its contents.",
        ) from error
    return validated(TargetFile, content, where=str(source)).targets


def judge_targets(targets: Sequence[Target], figures: Figures) -> list[dict[str, Any]]:
    """One row per target: its fields with value, ci95, n, gap, status and, if unknown, the reason.

    The gap is value - threshold in the metric's unit, so negative means short of an `at_least`
    target. The verdict is on the value; whether the interval contains the threshold is
    `is_settled`: only a settled PASS or FAIL would likely repeat on other patients.

    Args:
        targets: what is wanted.
        figures: a summary, as in `summary.json`.
    """
    return [_judge(target, figures) for target in targets]


def _judge(target: Target, figures: Figures) -> dict[str, Any]:
    figure, reason = _find(figures, target.metric)
    value = figure.get("value", figure.get("mean"))
    row = {**target.model_dump(), "value": value, "ci95": figure.get("ci95"), "n": figure.get("n")}
    if value is None:
        status = {"gap": None, "status": Verdict.NOT_MEASURED.value, "is_settled": False}
        return {**row, **status, "reason": reason}
    verdict = Verdict.PASS if target.is_met(value) else Verdict.FAIL
    return {
        **row,
        "gap": value - target.threshold,
        "status": verdict.value,
        "is_settled": _excludes(figure.get("ci95"), target.threshold),
    }


def _find(figures: Figures, path: str) -> tuple[Figures, str]:
    """The figure at a path (empty where there is none) and why it has no value."""
    found: Any = figures
    for part in path.split("/"):
        if not isinstance(found, Mapping) or part not in found:
            return {}, f"the summary has no {path!r}: nothing named {part!r} was measured"
        found = found[part]
    if not isinstance(found, Mapping):
        return {}, f"{path!r} of the summary is not a figure"
    return found, str(found.get("reason") or f"the summary gives no value for {path!r}")


def _excludes(interval: Sequence[float] | None, threshold: float) -> bool:
    return interval is not None and not interval[0] <= threshold <= interval[1]
