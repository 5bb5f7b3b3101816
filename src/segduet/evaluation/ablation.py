"""Arms of an ablation over all their seeds, compared with the baseline (F87).

Every seed's answer to a case counts as an answer of its own to that case: means are over cases and
seeds, differences are taken between answers to one case under one seed, and intervals resample
patients with all their cases and seeds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from segduet.evaluation.ablation_file import SeedFigures
from segduet.evaluation.classification import collect_answers
from segduet.evaluation.comparable import ComparedRun
from segduet.evaluation.comparison_file import FigureRow
from segduet.evaluation.measures import task_measures
from segduet.evaluation.region_values import MEAN_FOREGROUND, mean_dsc
from segduet.metrics.declared import SEGMENTATION_METRICS

#: seed -> its scores
BySeed = Mapping[int, ComparedRun]


def merged(name: str, parts: Sequence[ComparedRun]) -> ComparedRun:
    """Scores of different cases by one arm and seed, such as those of its folds, as one run."""
    first = parts[0]
    return replace(
        first,
        name=name,
        cases=[case for part in parts for case in part.cases],
        selected_from=max(part.selected_from for part in parts),
    )


def over_seeds(runs: BySeed) -> ComparedRun:
    """One arm with a case per case and seed; of a single seed the cases keep their names."""
    if len(runs) == 1:
        return next(iter(runs.values()))
    parts = [
        replace(run, cases=[replace(case, case=f"{case.case}, seed {seed}") for case in run.cases])
        for seed, run in runs.items()
    ]
    return merged(parts[0].name, parts)


def seed_figures(arms: Mapping[str, BySeed], rows: Sequence[FigureRow]) -> list[SeedFigures]:
    """Every figure of a comparison by arm and seed.

    Args:
        arms: name -> its scores by seed.
        rows: the comparison's.
    """
    return [
        SeedFigures(
            part=row.part,
            subject=row.subject,
            metric=row.metric,
            arm=arm,
            values={seed: _value(run, row) for seed, run in runs.items()},
        )
        for row in rows
        for arm, runs in arms.items()
    ]


def _value(run: ComparedRun, row: FigureRow) -> float | None:
    return _mask_value(run, row) if row.part == "segmentation" else _class_value(run, row)


def _mask_value(run: ComparedRun, row: FigureRow) -> float | None:
    cases = [case for case in run.cases if case.segmentation]
    if row.subject == MEAN_FOREGROUND:
        scores = [mean_dsc(case, run.regions) for case in cases]
    else:
        found = [case.segmentation.get(row.subject, {}).get(row.metric) for case in cases]
        scores = [score for score in found if score is not None]
    values = [score.value for score in scores if score.value is not None]
    if not values:
        return None
    has_signs = SEGMENTATION_METRICS[row.metric].better == "zero"
    return float(np.mean(np.abs(values) if has_signs else values))


def _class_value(run: ComparedRun, row: FigureRow) -> float | None:
    task = next((task for task in run.tasks if task.name == row.subject), None)
    if task is None:
        return None
    answers = collect_answers(run.cases, task)
    measures = task_measures(task, answers.reference, answers.probabilities)
    value = float(measures.overall[row.metric].statistic(np.ones(len(answers.patients))))
    return None if np.isnan(value) else value
