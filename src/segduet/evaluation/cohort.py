"""From scores per case to the figures of a cohort, as `summary.json` holds them (B19)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from segduet.core.errors import DataError
from segduet.core.files import read_json, write_json
from segduet.core.labels import LabelScheme
from segduet.core.scores import CaseScores, Estimate, Score
from segduet.core.tasks import TaskSpec
from segduet.evaluation import region_values
from segduet.evaluation.answer_split import AnswerSplit, dsc_by_answer
from segduet.evaluation.baselines import Baseline
from segduet.evaluation.chance import CHANCE_TEXT, chance_p_values
from segduet.evaluation.classification import TaskFigures, collect_answers, task_figures
from segduet.evaluation.intervals import INTERVAL_TEXT, mean_estimate
from segduet.evaluation.optimism import OPTIMISM_TEXT, with_optimism
from segduet.evaluation.scoring import scored_regions
from segduet.evaluation.subgroups import GAP_TEXT, subgroup_json
from segduet.evaluation.targets import Target, judge_targets
from segduet.metrics.declared import SEGMENTATION_METRICS

SCHEMA_VERSION = 1
MEAN_FOREGROUND = region_values.MEAN_FOREGROUND
#: case -> its group
Groups = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionFigure:
    """One metric of one region over a cohort.

    Attributes:
        mean: mean with its interval over the cases where the metric is defined.
        sd: sample standard deviation (n - 1); None for fewer than two cases.
        median: None without cases.
        num_undefined: cases left out because the metric is undefined there.
        unit: of the values, empty for a share.
    """

    mean: Estimate
    sd: float | None
    median: float | None
    num_undefined: int
    unit: str

    def to_json(self) -> dict[str, Any]:
        """`{mean, ci95, n, sd, median, n_undefined, unit}`, with `reason` where one is null."""
        content: dict[str, Any] = {
            "mean": self.mean.value,
            "ci95": list(self.mean.ci95) if self.mean.ci95 else None,
            "n": self.mean.n,
            "sd": self.sd,
            "median": self.median,
            "n_undefined": self.num_undefined,
            "unit": self.unit,
        }
        return {**content, "reason": self.mean.reason} if self.mean.reason else content


@dataclass(frozen=True, slots=True, kw_only=True)
class CohortSummary:
    """All figures of one evaluation.

    Attributes:
        num_cases: cases scored.
        segmentation: region -> metric -> figure; `mean_foreground` averages the declared regions.
        classification: task -> figures.
        baselines: baseline name -> (its description, task -> its figures).
        targets: rows of `judge_targets`.
        nsd_tolerance_mm: of NSD; None where no surfaces were measured.
        selected_from: candidates (epochs, configurations) the model was chosen from on these
            cases; 1 where these cases had no part in the choice.
        seed: of the resampling.
        regions: declared regions, which `mean_foreground` averages.
        tasks: the questions, as declared.
        dsc_by_answer: task -> region -> DSC of rightly and of wrongly answered cases.
        subgroups: what cases were divided by -> figures by group, see `subgroup_json`.
    """

    num_cases: int
    segmentation: Mapping[str, Mapping[str, RegionFigure]]
    classification: Mapping[str, TaskFigures]
    selected_from: int
    seed: int
    baselines: Mapping[str, tuple[str, Mapping[str, TaskFigures]]] = field(default_factory=dict)
    targets: Sequence[Mapping[str, Any]] = ()
    nsd_tolerance_mm: float | None = None
    regions: Sequence[str] = ()
    tasks: Sequence[TaskSpec] = ()
    dsc_by_answer: Mapping[str, Mapping[str, AnswerSplit]] = field(default_factory=dict)
    subgroups: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The content of `summary.json`, plain types, no NaN."""
        return {
            "schema_version": SCHEMA_VERSION,
            "n_cases": self.num_cases,
            "regions": list(self.regions),
            "tasks": [task.model_dump(mode="json", exclude={"scale"}) for task in self.tasks],
            "segmentation": with_optimism(
                {
                    region: {metric: figure.to_json() for metric, figure in figures.items()}
                    for region, figures in self.segmentation.items()
                },
                self.selected_from,
            ),
            "classification": with_optimism(
                {t: f.to_json() for t, f in self.classification.items()}, self.selected_from
            ),
            "dsc_by_answer": {
                task: {region: split.to_json() for region, split in of_task.items()}
                for task, of_task in self.dsc_by_answer.items()
            },
            "subgroups": {by: dict(content) for by, content in self.subgroups.items()},
            "baselines": {
                name: {
                    "description": text,
                    "classification": {task: f.to_json() for task, f in figures.items()},
                }
                for name, (text, figures) in self.baselines.items()
            },
            "targets": [dict(row) for row in self.targets],
            "nsd_tolerance_mm": self.nsd_tolerance_mm,
            "selected_from": self.selected_from,
            "interval": INTERVAL_TEXT,
            "definitions": _DEFINITIONS,
            "seed": self.seed,
        }

    def write(self, target: Path) -> None:
        """Writes `summary.json` atomically."""
        write_json(target, self.to_json())


def summarize(
    cases: Sequence[CaseScores],
    labels: LabelScheme,
    tasks: Sequence[TaskSpec],
    *,
    seed: int,
    selected_from: int,
    baselines: Sequence[Baseline] = (),
    targets: Sequence[Target] = (),
    nsd_tolerance_mm: float | None = None,
    groups: Mapping[str, Groups] | None = None,
) -> CohortSummary:
    """Figures of a cohort, each with its interval and number of cases.

    Args:
        cases: scores per case; each case once.
        labels: regions to report.
        tasks: case-level questions to report.
        seed: of the resampling.
        selected_from: see `CohortSummary`; >= 1.
        baselines: answers to report beside the model's.
        targets: thresholds to judge.
        nsd_tolerance_mm: what the surfaces of `cases` were measured with; None without surfaces.
        groups: what cases are divided by -> the group of each case; None divides by nothing.
    """
    assert selected_from >= 1, selected_from
    has_masks = any(case.segmentation for case in cases)
    regions = tuple(labels.foreground) if has_masks else ()
    measured = CohortSummary(
        num_cases=len(cases),
        segmentation=_segmentation(cases, labels, seed=seed) if has_masks else {},
        classification={task.name: _tested_figures(cases, task, seed=seed) for task in tasks},
        baselines=_baselines(cases, tasks, baselines, seed=seed),
        selected_from=selected_from,
        seed=seed,
        nsd_tolerance_mm=nsd_tolerance_mm if has_masks else None,
        regions=regions,
        tasks=tasks,
        dsc_by_answer=dsc_by_answer(cases, regions, tasks, seed=seed),
        subgroups={
            by: subgroup_json(cases, of_case, regions, tasks, seed=seed)
            for by, of_case in (groups or {}).items()
        },
    )
    rows = judge_targets(targets, measured.to_json())
    return replace(measured, targets=rows)


def read_summary(source: Path) -> dict[str, Any]:
    """The content of a `summary.json`, checked for its schema.

    Raises:
        DataError: missing, not JSON, or not a summary of this schema.
    """
    content = read_json(source)
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version != SCHEMA_VERSION or "n_cases" not in content:
        raise DataError(
            str(source),
            found=f"schema version {version!r}",
            expected=f"a summary.json of schema version {SCHEMA_VERSION}",
            remedy="Evaluate again with this version of segduet.",
        )
    return dict(content)


def mean_foreground_dsc(case: CaseScores, labels: LabelScheme) -> Score:
    """Mean DSC over the declared regions where it is defined; undefined where none is."""
    return region_values.mean_dsc(case, tuple(labels.foreground))


#: What the less usual keys of `summary.json` mean.
_DEFINITIONS = {"p_chance": CHANCE_TEXT, "optimism": OPTIMISM_TEXT, "subgroups": GAP_TEXT}


def _tested_figures(cases: Sequence[CaseScores], task: TaskSpec, *, seed: int) -> TaskFigures:
    answers = collect_answers(cases, task)
    return replace(task_figures(answers, seed=seed), p_chance=chance_p_values(answers, seed=seed))


def _segmentation(
    cases: Sequence[CaseScores], labels: LabelScheme, *, seed: int
) -> dict[str, dict[str, RegionFigure]]:
    with_mask = [case for case in cases if case.segmentation]
    patients = [case.patient for case in with_mask]
    figures = {
        region: {
            name: _region_figure(
                [case.segmentation[region][name] for case in with_mask],
                patients,
                unit=metric.unit,
                seed=seed,
            )
            for name, metric in SEGMENTATION_METRICS.items()
            if name in with_mask[0].segmentation[region]
        }
        for region in scored_regions(labels)
    }
    means = [mean_foreground_dsc(case, labels) for case in with_mask]
    figures[MEAN_FOREGROUND] = {"dsc": _region_figure(means, patients, unit="", seed=seed)}
    return figures


def _region_figure(
    scores: Sequence[Score], patients: Sequence[str], *, unit: str, seed: int
) -> RegionFigure:
    defined = [(s.value, p) for s, p in zip(scores, patients, strict=True) if s.value is not None]
    values, owners = [v for v, _ in defined], [p for _, p in defined]
    return RegionFigure(
        mean=mean_estimate(values, owners, seed=seed),
        sd=float(np.std(values, ddof=1)) if len(values) > 1 else None,
        median=float(np.median(values)) if values else None,
        num_undefined=len(scores) - len(values),
        unit=unit,
    )


def _baselines(
    cases: Sequence[CaseScores],
    tasks: Sequence[TaskSpec],
    baselines: Sequence[Baseline],
    *,
    seed: int,
) -> dict[str, tuple[str, dict[str, TaskFigures]]]:
    by_task = {task.name: task for task in tasks}
    grouped: dict[str, list[Baseline]] = {}
    for baseline in baselines:
        grouped.setdefault(baseline.name, []).append(baseline)
    return {
        name: (
            _description(members),
            {
                b.task: task_figures(
                    collect_answers(cases, by_task[b.task], b.probabilities), seed=seed
                )
                for b in members
            },
        )
        for name, members in grouped.items()
    }


def _description(members: Sequence[Baseline]) -> str:
    """What a baseline is; by task where it is not the same for all of them."""
    texts = {b.task: b.description for b in members}
    if len(set(texts.values())) == 1:
        return members[0].description
    return "; ".join(f"{task}: {text}" for task, text in texts.items())
