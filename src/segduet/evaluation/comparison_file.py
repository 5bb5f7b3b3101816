"""`comparison.json`: runs on the same cases, every figure of each against the first run's (F86)."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from segduet.core.description import validated
from segduet.core.files import read_json, write_json
from segduet.core.tasks import TaskSpec

SCHEMA_VERSION: Literal[1] = 1

#: What is known about a difference: which run is better, or that neither is shown to be.
Verdict = Literal["better", "worse", "not settled", "not measured"]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FigureEntry(_Strict):
    """A figure with its uncertainty.

    Attributes:
        value: None where it was not measured or is undefined.
        ci95: 95 % interval over patients; None without one.
        n: cases it rests on.
        reason: why value or interval is None.
        optimism: by how much the best of the run's candidates is expected to look better than it
            is, at most; None where it was not chosen on these cases.
    """

    value: FiniteFloat | None
    ci95: tuple[FiniteFloat, FiniteFloat] | None
    n: int = Field(ge=0)
    reason: str = ""
    optimism: FiniteFloat | None = None


class AnswerSplitEntry(_Strict):
    """DSC of rightly and wrongly answered cases of one run (F95).

    Attributes:
        task: whose answer is meant.
        region: whose DSC it is, `mean_foreground` for the mean over declared regions.
        right: mean over rightly answered cases.
        wrong: mean over wrongly answered cases.
        difference: right minus wrong.
    """

    task: str
    region: str
    right: FigureEntry
    wrong: FigureEntry
    difference: FigureEntry


class RunEntry(_Strict):
    """One run.

    Attributes:
        name: what tables call it; the first run is the reference.
        folder: its evaluation folder, as given.
        n_cases: scored cases, the same ones in every run.
        n_patients: their patients.
        selected_from: candidates its model was chosen from on these cases.
        measures_masks: whether it has masks.
        tasks: names of the questions it answers.
        dsc_by_answer: DSC split by right and wrong class, where it has both.
    """

    name: str
    folder: str
    n_cases: int
    n_patients: int
    selected_from: int = Field(ge=1)
    measures_masks: bool
    tasks: tuple[str, ...]
    dsc_by_answer: tuple[AnswerSplitEntry, ...] = ()


class Difference(_Strict):
    """One run against the reference run, on the cases for which both have the metric.

    Attributes:
        run: name of the run.
        reference_value: the reference run's figure on these cases.
        run_value: the run's figure on these cases.
        difference: `run_value - reference_value` with its interval; n counts the cases.
        n_patients: patients these cases come from, the unit of resampling.
        n_left_out: cases with the metric undefined in one run or both.
        n_better, n_worse: cases in which the run is better or worse; None for figures that have no
            value per case.
        p: paired permutation test, two-sided; None where there is nothing to compare.
        p_holm: p corrected for the number of runs compared with the reference.
        verdict: `better` or `worse` where `p_holm` is below 0.05.
    """

    run: str
    reference_value: FiniteFloat | None
    run_value: FiniteFloat | None
    difference: FigureEntry
    n_patients: int = 0
    n_left_out: int = 0
    n_better: int | None = None
    n_worse: int | None = None
    p: float | None = Field(default=None, ge=0, le=1)
    p_holm: float | None = Field(default=None, ge=0, le=1)
    verdict: Verdict = "not measured"


class FigureRow(_Strict):
    """One figure of every run.

    Attributes:
        part: which answer it judges.
        subject: region or task.
        metric: its name in `summary.json`.
        label: what a reader sees.
        unit: of the values.
        better: which way is better; the volume difference is compared by its size.
        values: run name -> the run's own figure over all its cases.
        differences: every other run against the reference run.
    """

    part: Literal["segmentation", "classification"]
    subject: str
    metric: str
    label: str
    unit: str
    better: Literal["higher", "lower"]
    values: dict[str, FigureEntry]
    differences: tuple[Difference, ...]


class Comparison(_Strict):
    """The content of `comparison.json`.

    Attributes:
        schema_version: of this file.
        reference: name of the run that the others are compared with.
        runs: all runs, the reference first.
        tasks: every question any run answers.
        rows: figures, masks first.
        interval, test, correction: how intervals, p and `p_holm` were computed, as sentences.
        seed: of the resampling.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    reference: str
    runs: tuple[RunEntry, ...] = Field(min_length=2)
    tasks: tuple[TaskSpec, ...] = ()
    rows: tuple[FigureRow, ...]
    interval: str
    test: str
    correction: str
    seed: int

    def write(self, target: Path) -> None:
        """Writes the file atomically."""
        write_json(target, self.model_dump(mode="json"))


def read_comparison(source: Path) -> Comparison:
    """Reads what `Comparison.write` wrote.

    Raises:
        DataError: missing, not JSON, or not a comparison of this schema.
    """
    return validated(Comparison, read_json(source), where=str(source))
